"""A loop at a fixed rate with absolute deadlines on the monotonic clock.

Relative sleeps drift by the time the work takes; absolute deadlines do not. Overrun rule: skip, never burst. When work
runs past one or more deadlines these are missed, and the next tick is the first deadline of the same grid that is still
ahead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WINDOW = 4096  # ticks that the statistics look back


@dataclass(frozen=True, slots=True)
class RateStats:
    """Of a RateLoop; times in seconds over the last ticks, counters since the start.

    Attributes:
      ticks, misses: deadlines met (perhaps late, see jitter) and skipped.
      period: mean time between ticks.
      jitter_p50, jitter_p99, jitter_max: lateness of a tick after its deadline.
      busy_max: longest work of one tick.
    """

    ticks: int
    misses: int
    period: float
    jitter_p50: float
    jitter_p99: float
    jitter_max: float
    busy_max: float


@dataclass(frozen=True, slots=True)
class RateHistory:
    """Some ticks of a RateLoop, oldest first.

    Attributes:
      until: number of the last one, counted from 1.
      starts: (n) when each began, seconds on the loop's clock.
      late: (n) seconds after its deadline.
      missed: (n) deadlines skipped right before it.
    """

    until: int
    starts: NDArray[np.float64]
    late: NDArray[np.float64]
    missed: NDArray[np.float64]


class RateLoop:
    """Paces one thread: `while running: loop.wait(); work()`.

    Args:
      period: seconds.
      clock: monotonic seconds.
      sleep: waits for some seconds; may return early (an Event's `wait`, to stop at once).

    Attributes:
      ticks, misses: as in RateStats.
    """

    def __init__(
        self, period: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        if period <= 0:
            raise ValueError(f"period must be positive seconds, found {period}")
        self.ticks = 0
        self.misses = 0
        self._period = period
        self._clock = clock
        self._sleep = sleep
        self._origin: float | None = None
        self._index = 0  # of the last deadline on the grid
        self._began = 0.0
        self._late = np.zeros(_WINDOW)
        self._busy = np.zeros(_WINDOW)
        self._starts = np.zeros(_WINDOW)
        self._missed = np.zeros(_WINDOW)

    def wait(self) -> int:
        """Sleep until the next deadline; the first call sets the grid and returns at once. Returns deadlines missed."""
        now = self._clock()
        if self._origin is None:
            self._origin = now
            self._tick(now, now, 0)
            return 0
        self._busy[(self.ticks - 1) % _WINDOW] = now - self._began
        due = self._index + 1
        ahead = int((now - self._origin) / self._period) + 1  # first deadline after now
        missed = max(0, ahead - due)
        self.misses += missed
        self._index = due + missed
        deadline = self._origin + self._index * self._period
        self._sleep(deadline - now)
        self._tick(self._clock(), deadline, missed)
        return missed

    @property
    def overdue(self) -> float:
        """Seconds since the deadline after the one of the tick in progress; 0 before it. From any thread."""
        origin = self._origin
        return 0.0 if origin is None else max(0.0, self._clock() - origin - (self._index + 1) * self._period)

    def stats(self) -> RateStats:
        """Statistics; may be called from another thread, then it is off by at most the tick in progress."""
        count = min(self.ticks, _WINDOW)
        if count == 0:
            return RateStats(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0)
        late, starts = self._late[:count], self._starts[:count]
        period = (starts.max() - starts.min()) / (count - 1) if count > 1 else 0.0
        p50, p99 = np.quantile(late, (0.5, 0.99))
        busy = float(self._busy[:count].max())
        return RateStats(self.ticks, self.misses, float(period), float(p50), float(p99), float(late.max()), busy)

    def history(self, since: int) -> RateHistory:
        """Ticks after number `since`, 4096 at most. From another thread: call it long before that many have passed."""
        until = self.ticks
        slots = np.arange(max(since, until - _WINDOW), until) % _WINDOW
        return RateHistory(until, self._starts[slots], self._late[slots], self._missed[slots])

    def _tick(self, now: float, deadline: float, missed: int) -> None:
        slot = self.ticks % _WINDOW
        self._began = now
        self._late[slot] = max(0.0, now - deadline)
        self._starts[slot] = now
        self._missed[slot] = missed
        self.ticks += 1
