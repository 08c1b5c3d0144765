"""How long the stages of a control tick take: the worst over the last ticks, so that a slow one can be named."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

Stage = Literal["observe", "infer", "guard", "publish", "record"]
STAGES: tuple[Stage, ...] = get_args(Stage)
_WINDOW = 4096  # ticks looked back


class StageTimes:
    """One thread calls `begin` at the start of a tick and `done` after each stage; a stage may come in several pieces.

    Args:
      clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds = np.zeros((_WINDOW, len(STAGES)))
        self._index = {stage: i for i, stage in enumerate(STAGES)}
        self._slot = 0
        self._since = 0.0

    def begin(self) -> None:
        """A tick begins."""
        self._slot = (self._slot + 1) % _WINDOW
        self._seconds[self._slot] = 0.0
        self._since = self._clock()

    def done(self, stage: Stage) -> None:
        """What passed since the last call belongs to `stage`."""
        now = self._clock()
        self._seconds[self._slot, self._index[stage]] += now - self._since
        self._since = now

    def worst(self) -> dict[str, float]:
        """Longest seconds of each stage over the last 4096 ticks. From any thread: off by the tick in progress."""
        return dict(zip(STAGES, map(float, self._seconds.max(0)), strict=True))
