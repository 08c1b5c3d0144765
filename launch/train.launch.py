"""A robot learns: learner, simulated robot (or a driver that runs already) and policy node."""

from launch import LaunchDescription

from robot_dreamer.commands.startable import require_startable
from robot_dreamer.processes.launch_arguments import ARGUMENTS
from robot_dreamer.processes.launching import describe


def generate_launch_description() -> LaunchDescription:
    """All arguments of the process table."""
    return describe([name for name in ARGUMENTS if name != "policy"], require_startable)
