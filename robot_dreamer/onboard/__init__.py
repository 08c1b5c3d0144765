"""What runs on the robot, without ROS and without torch: bundle, policy, controller, guard, hot swap, rate loop."""
