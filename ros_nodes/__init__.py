"""ROS 2 nodes: they convert and schedule; what decides is in robot_dreamer.onboard."""

import sys

from robot_dreamer.missing import explain_missing

if sys.argv[:1] == ["-m"]:  # so Python calls itself while it looks for `ros_nodes.policy_node`
    explain_missing("policy node")
