"""What a learner trains in when no robot and no ROS 2 is at hand: the interface; `sim.environments` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.draws import Draws
from robot_dreamer.spec import RobotSpec


class EpisodeBroken(RuntimeError):
    """A world showed what no row can hold, or lost itself: the episode is cut, as on a robot, and the next may begin.

    Attributes:
      kind: under which it is counted.
    """

    def __init__(self, kind: str, problem: str) -> None:
        super().__init__(problem)
        self.kind = kind


class EnvironmentFailed(RuntimeError):
    """Foreign code raised, or broke its interface: the message says where, its cause keeps the traceback."""


@dataclass(frozen=True, slots=True)
class TimeStep:
    """What an environment shows after a reset, or after a command.

    Attributes:
      observation: all quantities of the spec by name, shapes and dtypes as there.
      reward: sum since the step before; 0 after a reset.
      is_last: the episode is over. A time limit is is_last without is_terminal.
      is_terminal: the task has ended for good.
      drawn: after a reset, what was drawn for the episode; empty where nothing was.
    """

    observation: dict[str, NDArray[Any]]
    reward: float
    is_last: bool
    is_terminal: bool
    drawn: Draws = field(default_factory=dict)


class Environment(Protocol):
    """What a learner trains in. `step` after one that is_last raises RuntimeError: reset first.

    Arrays that it shows belong to whoever gets them. Both methods may raise EpisodeBroken, and EnvironmentFailed.
    """

    @property
    def spec(self) -> RobotSpec: ...

    def reset(self) -> TimeStep: ...

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> TimeStep:
        """Hold commands for one period: by action name, in units, shape (size,), as `ActionSpec.to_command` gives."""

    def close(self) -> None: ...
