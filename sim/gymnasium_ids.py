"""Gymnasium's ids of the simulated robots: import it, and `gymnasium.make("robot_dreamer/Cartpole-v0")` knows them.

`robot_dreamer/Robot-v0` is any robot: `gymnasium.make("robot_dreamer/Robot-v0", robot="mine.yaml")`.
"""

from __future__ import annotations

import gymnasium

ANY = "robot_dreamer/Robot-v0"
IDS = {
    "robot_dreamer/A1Walk-v0": "a1",
    "robot_dreamer/A1Stand-v0": "a1_stand",
    "robot_dreamer/Cartpole-v0": "cartpole",
    "robot_dreamer/CartpoleCamera-v0": "cartpole_camera",
    "robot_dreamer/CartpoleSlow-v0": "cartpole_slow",
    "robot_dreamer/Quadruped-v0": "quadruped",
    "robot_dreamer/SO101Reach-v0": "so101",
    "robot_dreamer/UR5Pick-v0": "ur5_pick",
    "robot_dreamer/Turtlebot-v0": "turtlebot",
    "robot_dreamer/TurtlebotGoal-v0": "turtlebot_goal",
    "robot_dreamer/XArmPick-v0": "xarm_pick",
    "robot_dreamer/Ollie-v0": "ollie",
}
"""Id -> shipped robot."""

_ENTRY = "sim.gym_robot:GymRobot"

gymnasium.register(ANY, entry_point=_ENTRY)
for _id, _robot in IDS.items():
    gymnasium.register(_id, entry_point=_ENTRY, kwargs={"robot": _robot})
