"""In-process environments for algorithm work: every one described by a RobotSpec, none needs ROS 2.

environment = make_environment("dmc:walker_walk", seed=0, action_repeat=2)
step = environment.reset()
step = environment.step({"action": np.zeros(6)})  # in units
"""

from __future__ import annotations

from collections.abc import Callable

from robot_dreamer.environment import Environment
from robot_dreamer.spec import SpecError


def make_environment(name: str, seed: int, action_repeat: int = 1, pixels: bool = False) -> Environment:
    """Make `dmc:<domain>_<task>`, `atari:<game>`, `crafter:reward`, `gym:<id>` or `robot:<name or path of a spec>`.

    Args:
      name: which environment.
      seed: of everything random in it.
      action_repeat: hold each action for so many steps; rewards are summed. Not for robots: their spec has a rate.
      pixels: dmc: the observation is one 64x64 colour picture instead of numbers. atari and crafter show it anyway.

    Raises:
      SpecError: unknown environment (with the known ones), or one that a RobotSpec cannot describe.
    """
    kind, _, rest = name.partition(":")
    if kind not in _KINDS:
        raise SpecError(
            f"unknown environment {name!r}; expected one like dmc:walker_walk, atari:pong, crafter:reward, "
            "gym:CartPole-v1, robot:cartpole"
        )
    if action_repeat < 1:
        raise SpecError(f"action_repeat must be at least 1, found {action_repeat}")
    return _KINDS[kind](rest, seed, action_repeat, pixels)


def _dmc(task: str, seed: int, action_repeat: int, pixels: bool) -> Environment:
    from sim.dmc_environment import DmcEnvironment

    return DmcEnvironment(task, seed, action_repeat, pixels)


def _atari(game: str, seed: int, action_repeat: int, pixels: bool) -> Environment:
    from sim.atari_environment import AtariEnvironment

    return AtariEnvironment(game, seed, action_repeat)


def _crafter(task: str, seed: int, action_repeat: int, pixels: bool) -> Environment:
    from sim.crafter_environment import CrafterEnvironment

    return CrafterEnvironment(task, seed, action_repeat)


def _gym(name: str, seed: int, action_repeat: int, pixels: bool) -> Environment:
    from sim.gym_environment import GymEnvironment

    if pixels:
        raise SpecError(
            "pixels is for dmc: only; a gym environment shows pictures where its observation space has them"
        )
    return GymEnvironment(name, seed, action_repeat)


def _robot(robot: str, seed: int, action_repeat: int, pixels: bool) -> Environment:
    from sim.robot_environment import RobotEnvironment

    if action_repeat != 1:
        raise SpecError(f"action_repeat {action_repeat} is not for robots; set the rate in the RobotSpec")
    if pixels:
        raise SpecError("pixels is not for robots; give the RobotSpec an observation of type sensor_msgs/msg/Image")
    return RobotEnvironment(robot, seed)


_KINDS: dict[str, Callable[[str, int, int, bool], Environment]] = {
    "dmc": _dmc,
    "atari": _atari,
    "crafter": _crafter,
    "gym": _gym,
    "robot": _robot,
}
