"""What comes late: a lag drawn once an episode, jitter, losses; an older sample never follows a newer one."""

from __future__ import annotations

import math

from numpy.random import Generator

from sim.simulation import Lag


class Channel:
    """Counts in physics steps since the reset.

    Args:
      lag: how late, and how much is lost.
      timestep: seconds of a physics step.

    Attributes:
      used: anything is late or lost at all.
      most: steps that nothing is later than, once something has come.
    """

    def __init__(self, lag: Lag, timestep: float) -> None:
        self._lag, self._timestep = lag, timestep
        self.used = lag != Lag()
        self.most = round((lag.seconds[1] + lag.jitter) / timestep)
        self._seconds = 0.0
        self._last = 0

    def begin(self, generator: Generator) -> float:
        """A new episode; returns its lag, s."""
        self._seconds = float(generator.uniform(*self._lag.seconds))
        self._last = 0
        return self._seconds

    def seen(self, now: int, generator: Generator) -> int:
        """The step whose sample is seen at step `now`: at least 0 and what was seen before, at most `now`."""
        if not self._lost(generator):
            self._last = max(self._last, now - self._late(generator))
        return self._last

    def arrives(self, now: int, generator: Generator) -> int | None:
        """The step at which what is sent at step `now` arrives, not before what was sent earlier; None: never."""
        if self._lost(generator):
            return None
        self._last = max(self._last, now + self._late(generator))
        return self._last

    def _late(self, generator: Generator) -> int:
        jitter = generator.uniform(0.0, self._lag.jitter) if self._lag.jitter else 0.0
        return min(self.most, math.floor((self._seconds + jitter) / self._timestep + 0.5))

    def _lost(self, generator: Generator) -> bool:
        return self._lag.loss > 0 and generator.random() < self._lag.loss
