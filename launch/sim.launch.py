"""The simulated robot alone, in place of a robot and its drivers."""

from launch import LaunchDescription

from robot_dreamer.commands.startable import require_startable
from robot_dreamer.processes.launch_arguments import SIM_ROBOT
from robot_dreamer.processes.launching import describe


def generate_launch_description() -> LaunchDescription:
    """In real time, as a robot is."""
    offered = ["robot", "task", "clock", "speed", "watchdog", "robots", "namespace", "seed"]
    offered += ["params_file", "remappings", *SIM_ROBOT]
    return describe(offered, require_startable, settings={"clock": "realtime", "learner": "", "policy": "false"})
