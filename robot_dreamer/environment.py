"""What a learner trains in when no robot and no ROS 2 is at hand: the interface; `sim.environments` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from robot_dreamer.spec import RobotSpec


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
