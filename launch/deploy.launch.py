"""A policy on a robot: the policy node with one bundle, and no learner unless one is named."""

from launch import LaunchDescription

from robot_dreamer.commands.startable import require_startable
from robot_dreamer.processes.launch_arguments import POLICY_NODE
from robot_dreamer.processes.launching import describe


def generate_launch_description() -> LaunchDescription:
    """In real time, on a robot whose drivers run already."""
    offered = ["robot", "task", "sim", "clock", "learner", "logdir", "robot_id", "namespace"]
    offered += ["deterministic", "automatic", "keys", "insecure", "seed", "params_file", "remappings", *POLICY_NODE]
    settings = {"sim": "false", "clock": "realtime", "learner": "", "deterministic": "true", "logdir": "runs/deploy"}
    settings["random_actions"] = "false"  # there is a bundle from the start; what demands proof refuses chance
    return describe(offered, require_startable, required=["bundle"], settings=settings)
