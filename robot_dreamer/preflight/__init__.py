"""Whether a robot is as its RobotSpec says, found out before a motor moves."""
