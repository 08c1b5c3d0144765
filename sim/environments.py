"""In-process environments for algorithm work: every one described by a RobotSpec, none needs ROS 2.

environment = make_environment("dmc:walker_walk", seed=0, action_repeat=2)
step = environment.reset()
step = environment.step({"action": np.zeros(6, np.float32)})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from robot_dreamer.spec import RobotSpec, SpecError


@dataclass(frozen=True, slots=True)
class Step:
    """One row, before its action (the alignment of StepRecord).

    Attributes:
      observation: by name, shapes and dtypes of the spec.
      reward: sum since the previous row; 0 on the first.
      is_first, is_last: first and last row of an episode. A time limit is is_last without is_terminal.
      is_terminal: the task has ended for good.
    """

    observation: dict[str, NDArray[Any]]
    reward: float
    is_first: bool
    is_last: bool
    is_terminal: bool


class Environment(Protocol):
    """What a learner trains in. `step` after a row that is_last raises RuntimeError: reset first."""

    @property
    def spec(self) -> RobotSpec: ...

    def reset(self) -> Step: ...

    def step(self, action: Mapping[str, NDArray[Any]]) -> Step:
        """Apply normalised actions (see ActionSpec), by name."""

    def close(self) -> None: ...


def make_environment(name: str, seed: int, action_repeat: int = 1, pixels: bool = False) -> Environment:
    """Make `dmc:<domain>_<task>`, `gym:<id>` or `robot:<name or path of a RobotSpec>`.

    Args:
      name: which environment.
      seed: of everything random in it.
      action_repeat: hold each action for so many steps; rewards are summed. Not for robots: their spec has a rate.
      pixels: dmc only: the observation is one 64x64 colour picture instead of numbers.

    Raises:
      SpecError: unknown environment (with the known ones), or one that a RobotSpec cannot describe.
    """
    kind, _, rest = name.partition(":")
    if kind not in _KINDS:
        raise SpecError(
            f"unknown environment {name!r}; expected one like dmc:walker_walk, gym:CartPole-v1, robot:cartpole"
        )
    if action_repeat < 1:
        raise SpecError(f"action_repeat must be at least 1, found {action_repeat}")
    return _KINDS[kind](rest, seed, action_repeat, pixels)


def _dmc(task: str, seed: int, action_repeat: int, pixels: bool) -> Environment:
    from sim.dmc_environment import DmcEnvironment

    return DmcEnvironment(task, seed, action_repeat, pixels)


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


_KINDS: dict[str, Callable[[str, int, int, bool], Environment]] = {"dmc": _dmc, "gym": _gym, "robot": _robot}
