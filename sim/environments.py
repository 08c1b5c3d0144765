"""In-process environments for algorithm work: every one described by a RobotSpec, none needs ROS 2.

environment = make_environment("dmc:walker_walk", seed=0, action_repeat=2)
step = environment.reset()
step = environment.step({"action": np.zeros(6)})  # in units
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from robot_dreamer.environment import Environment
from robot_dreamer.spec import SpecError


@dataclass(frozen=True)
class Wanted:
    """What is asked of an environment; see `make_environment`."""

    seed: int
    action_repeat: int
    pixels: bool
    records: Path | None


def make_environment(
    name: str, seed: int, action_repeat: int = 1, pixels: bool = False, records: Path | None = None
) -> Environment:
    """Make `dmc:<domain>_<task>`, `atari:<game>`, `crafter:reward`, `bsuite:<id>`, `gym:<id>` or `robot:<name>`.

    Args:
      name: which environment.
      seed: of everything random in it.
      action_repeat: hold each action for so many steps; rewards are summed. Not for robots: their spec has a rate.
      pixels: dmc: the observation is one 64x64 colour picture instead of numbers. atari and crafter show it anyway.
      records: folder for what an environment notes of a run by itself, as bsuite does; None: it notes nothing.

    Raises:
      SpecError: unknown environment (with the known ones), or one that a RobotSpec cannot describe.
    """
    kind, _, rest = name.partition(":")
    if kind not in _KINDS:
        raise SpecError(
            f"unknown environment {name!r}; expected one like dmc:walker_walk, atari:pong, crafter:reward, "
            "bsuite:catch/0, gym:CartPole-v1, robot:cartpole"
        )
    if action_repeat < 1:
        raise SpecError(f"action_repeat must be at least 1, found {action_repeat}")
    return _KINDS[kind](rest, Wanted(seed, action_repeat, pixels, records))


def _dmc(task: str, wanted: Wanted) -> Environment:
    from sim.dmc_environment import DmcEnvironment

    return DmcEnvironment(task, wanted.seed, wanted.action_repeat, wanted.pixels)


def _atari(game: str, wanted: Wanted) -> Environment:
    from sim.atari_environment import AtariEnvironment

    return AtariEnvironment(game, wanted.seed, wanted.action_repeat)


def _crafter(task: str, wanted: Wanted) -> Environment:
    from sim.crafter_environment import CrafterEnvironment

    return CrafterEnvironment(task, wanted.seed, wanted.action_repeat)


def _bsuite(bsuite_id: str, wanted: Wanted) -> Environment:
    from sim.bsuite_environment import BsuiteEnvironment

    if wanted.pixels:
        raise SpecError("pixels is for dmc: only; bsuite shows numbers")
    return BsuiteEnvironment(bsuite_id, wanted.seed, wanted.action_repeat, wanted.records)


def _gym(name: str, wanted: Wanted) -> Environment:
    from sim.gym_environment import GymEnvironment

    if wanted.pixels:
        raise SpecError(
            "pixels is for dmc: only; a gym environment shows pictures where its observation space has them"
        )
    return GymEnvironment(name, wanted.seed, wanted.action_repeat)


def _robot(robot: str, wanted: Wanted) -> Environment:
    from sim.robot_environment import RobotEnvironment

    if wanted.action_repeat != 1:
        advice = "its RobotSpec has a rate: --set action_repeat=1"
        raise SpecError(f"action_repeat {wanted.action_repeat} is not for a robot; {advice}")
    if wanted.pixels:
        raise SpecError("pixels is not for robots; give the RobotSpec an observation of type sensor_msgs/msg/Image")
    return RobotEnvironment(robot, wanted.seed)


_KINDS: dict[str, Callable[[str, Wanted], Environment]] = {
    "dmc": _dmc,
    "atari": _atari,
    "crafter": _crafter,
    "bsuite": _bsuite,
    "gym": _gym,
    "robot": _robot,
}
