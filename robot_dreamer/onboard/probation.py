"""Whether a policy that took over is worse than the one before it: by time, and by return where that is asked for.

latency  the median of its last 32 steps is longer than the control period, and that of the one before it was not
return   its first n whole episodes, against the last n of the one before it: the mean is lower by more than twice the
         standard error of the difference. Judged once. In training policies change within an episode, so it never is.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

_STEPS = 32
_ERRORS = 2.0  # standard errors; about one sound policy in forty is sent back


class PolicyRecord:
    """What one policy did: seconds of its last steps, returns of its last whole episodes."""

    def __init__(self, episodes: int) -> None:
        self.seconds: deque[float] = deque(maxlen=_STEPS)
        self.returns: deque[float] = deque(maxlen=max(episodes, 1))
        self.steps = 0
        self.episodes = 0

    def stepped(self, seconds: float) -> None:
        """A step took so long."""
        self.seconds.append(seconds)
        self.steps += 1

    def finished(self, episode_return: float) -> None:
        """An episode that this policy alone drove. A return that is not finite says nothing about it."""
        if math.isfinite(episode_return):
            self.returns.append(episode_return)
            self.episodes += 1


class Probation:
    """Compares the acting policy with the one before it.

    Args:
      period: seconds that a step may take; None: there is no such limit (the world waits).
      episodes: to judge returns by; 0: returns are not judged.
    """

    def __init__(self, period: float | None = None, episodes: int = 0) -> None:
        if episodes == 1 or episodes < 0:
            raise ValueError(f"episodes to judge returns by: expected 0 (never), or at least 2, found {episodes}")
        self._period, self._episodes = period, episodes
        self._now, self._before = PolicyRecord(episodes), PolicyRecord(episodes)

    def stepped(self, seconds: float) -> None:
        """The acting policy took a step."""
        self._now.stepped(seconds)

    def finished(self, episode_return: float) -> None:
        """The acting policy drove a whole episode."""
        self._now.finished(episode_return)

    def begin(self) -> None:
        """Another policy takes over."""
        self._now, self._before = PolicyRecord(self._episodes), self._now

    def end(self) -> None:
        """The policy before takes over again; there is none before it."""
        self._now, self._before = self._before, PolicyRecord(self._episodes)

    def verdict(self) -> str:
        """Why the acting policy should give way to the one before it; empty if it need not."""
        return self._judge_latency() or self._judge_return()

    def _judge_latency(self) -> str:
        now, before = self._now.seconds, self._before.seconds
        looks = self._now.steps % _STEPS == 0  # not at every tick
        if self._period is None or not looks or len(now) < _STEPS or len(before) < _STEPS:
            return ""
        found, known = statistics.median(now), statistics.median(before)
        if found <= self._period or known > self._period:
            return ""
        return (
            f"a step takes {1e3 * found:.1f} ms of a period of {1e3 * self._period:.1f} ms, before {1e3 * known:.1f} ms"
        )

    def _judge_return(self) -> str:
        n, now, before = self._episodes, self._now, self._before
        if not n or now.episodes != n or before.episodes < n:
            return ""
        scale = max(map(abs, (*now.returns, *before.returns))) or 1.0  # the square of a large number is none
        ours, theirs = ([x / scale for x in track.returns] for track in (now, before))
        found, known = statistics.fmean(ours) * scale, statistics.fmean(theirs) * scale
        error = math.sqrt((statistics.variance(ours) + statistics.variance(theirs)) / n) * scale
        if not math.isfinite(error) or found >= known - _ERRORS * error:
            return ""
        return f"mean return of {n} episodes {found:.4g}, before {known:.4g}, standard error {error:.2g}"
