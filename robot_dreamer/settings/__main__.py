"""docs/settings.md, from the tables: `python -m robot_dreamer.settings > docs/settings.md`."""

from __future__ import annotations

from robot_dreamer.processes.launch_arguments import ARGUMENTS
from robot_dreamer.settings.gate import GateSettings
from robot_dreamer.settings.learner import LearnerSettings
from robot_dreamer.settings.play import PlaySettings
from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.settings.setting import markdown, settings_of
from robot_dreamer.settings.sim_robot import SimRobotSettings

_HEAD = """# Settings

What each program can be told, from the tables in `robot_dreamer/settings/` (`python -m robot_dreamer.settings` writes
this page). A parameter or launch argument that no table has is refused, with the nearest one that it has; so is what is
out of its range, and what stands in front of `--ros-args` on a node's command line. As options of `robot-dreamer` names
have `-` for `_` (`--init-from`), and what is true or false is a switch: `--offline`, `--no-film`.
`~` in front of a file or folder is the home folder, in a parameter file too.
"""
_LAUNCH = """## Launch arguments

`ros2 launch robot_dreamer train.launch.py name:=value`; `sim.launch.py` and `deploy.launch.py` take those that concern
them (`--show-args`), with defaults for a robot: real time, no learner; for `deploy.launch.py` also no simulation, no
action noise, and `logdir` `runs/deploy`.
"""


def page() -> str:
    """The page of the docs."""
    programs = (
        ("Policy node", "`ros2 run robot_dreamer policy_node --ros-args -p name:=value`", PolicyNodeSettings),
        ("Simulated robot", "`ros2 run robot_dreamer sim_robot --ros-args -p name:=value`", SimRobotSettings),
        ("Simulation without ROS 2", "`robot-dreamer sim --name value`", PlaySettings),
        ("Gate", "`robot-dreamer gate --name value`", GateSettings),
        ("Learner", "`robot-dreamer learn --name value` (`overrides` is `--set`)", LearnerSettings),
    )
    parts = [_HEAD]
    parts += [f"## {title}\n\n{how}\n\n{markdown(settings_of(table))}\n" for title, how, table in programs]
    return "\n".join([*parts, _LAUNCH, markdown(ARGUMENTS.values(), ARGUMENTS), ""])


if __name__ == "__main__":
    print(page(), end="")
