"""ROS 2 nodes: they convert and schedule; what decides is in robot_dreamer.onboard."""
