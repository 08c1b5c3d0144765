"""The guard's rules about the robot, each small, pure and independent of the policy.

A rule is asked once per tick and answers with what is wrong, in words, or with "". What it does about it is the guard's
business (robot_dreamer/spec/safety.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec.safety import Limit, Surprise, Tilt

_REFIT = 50  # values between two looks at the quantile
_TINY = 1e-6


class Persistence:
    """Lets a problem through once it has been there for some ticks in a row."""

    def __init__(self, seconds: float, rate: float) -> None:
        self._needed = max(1, math.ceil(seconds * rate))
        self._row = 0

    def __call__(self, problem: str) -> str:
        self._row = self._row + 1 if problem else 0
        return problem if self._row >= self._needed else ""

    def reset(self) -> None:
        self._row = 0


class TiltRule:
    """Angle between the world's up and the body's."""

    def __init__(self, tilt: Tilt, rate: float) -> None:
        self._tilt = tilt
        self._up = np.asarray(tilt.up) / np.linalg.norm(tilt.up)
        self._persistence = Persistence(tilt.after, rate)

    def check(self, observation: Mapping[str, NDArray[Any]]) -> str:
        return self._persistence(self._problem(np.asarray(observation[self._tilt.observation], np.float64)))

    def reset(self) -> None:
        self._persistence.reset()

    def _problem(self, value: NDArray[np.float64]) -> str:
        name = self._tilt.observation
        length = float(np.linalg.norm(value))
        if length < _TINY:
            return f"{name} has no direction: {value}"
        seen = value / length if value.size == 3 else _world_up(value / length)
        angle = math.acos(max(-1.0, min(1.0, float(seen @ self._up))))
        if angle <= self._tilt.max_angle:
            return ""
        return f"the robot leans {angle:.2f} rad, allowed {self._tilt.max_angle:g} rad ({name})"


def _world_up(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """The world's z axis seen from a body of orientation q (x, y, z, w): the third row of its rotation matrix."""
    x, y, z, w = q
    return np.array([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)])


class LimitRule:
    """Each number of a measured quantity within its limits. `names`: of the numbers, for people."""

    def __init__(self, limit: Limit, names: tuple[str, ...], unit: str, rate: float) -> None:
        self._limit = limit
        self._names = names
        self._unit = f" {unit}" if unit else ""
        self._persistence = Persistence(limit.after, rate)
        # In float32, as readings are: 0.1 is more than 0.1 there, and a driver that cuts at a limit shows the limit.
        sides = (("low", -1, limit.low), ("high", 1, limit.high))
        self._sides = [(label, sign, np.asarray(side, np.float32)) for label, sign, side in sides if side]

    def check(self, observation: Mapping[str, NDArray[Any]]) -> str:
        return self._persistence(self._problem(observation[self._limit.observation]))

    def reset(self) -> None:
        self._persistence.reset()

    def _problem(self, value: NDArray[Any]) -> str:
        for label, sign, side in self._sides:
            over = sign * value > sign * side
            if over.any():
                i = int(np.argmax(over))
                which = f" of {self._names[i]}" if self._names else f"[{i}]"
                return f"{self._limit.observation}{which} is {value[i]:.4g}{self._unit}, {label} limit {side[i]:g}"
        return ""


class DeadlineRule:
    """Deadlines of the control loop missed one after another; a tick that meets its deadline ends the row."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._row = 0

    def check(self, missed: int) -> str:
        """`missed`: deadlines skipped before this tick."""
        self._row = self._row + missed if missed else 0
        if not self._most or self._row < self._most:
            return ""
        return f"{self._row} deadlines missed in a row, allowed {self._most - 1}"

    def reset(self) -> None:
        self._row = 0


class SurpriseRule:
    """Surprise above what this policy's world model lately had.

    Judged is the running mean over `seconds` of an episode, because single ticks surprise a good model too, and because
    surprise is bounded (where categorical latents are mixed with uniform ones): what is wrong shows in how long it
    lasts. threshold = q + (factor - 1) |q|, q the 99th percentile of the last `window` means: factor times it, and
    above it too where surprise is a log-likelihood below zero (World Models). It does not judge the first `warm_up`
    means of a policy, which enter the window like all others: another model has another scale.

    Attributes:
      mean: nats; 0 before there is one.
      threshold: nats; infinite while it does not judge.
    """

    def __init__(self, surprise: Surprise, rate: float) -> None:
        self.mean = 0.0
        self.threshold = math.inf
        self._spec = surprise
        self._ticks = max(1, round(surprise.seconds * rate))
        self._window = np.zeros(surprise.window)
        self._count = 0  # means that entered the window
        self._version: int | None = None
        self._learning = 0  # means of the present policy that are not judged
        self._seen = 0  # values of this episode

    def check(self, surprise: float, version: int) -> str:
        """`surprise`: nats; NaN from a policy that has none says nothing, nor does what is not finite."""
        if not math.isfinite(surprise):
            return ""
        if version != self._version:
            self._version, self._learning, self.threshold = version, self._spec.warm_up, math.inf
        self._seen += 1
        self.mean += (surprise - self.mean) / min(self._seen, self._ticks)
        if self._seen < self._ticks:
            return ""
        if self.mean > self.threshold:
            return f"mean surprise {self.mean:.3g} nats over {self._spec.seconds:g} s, threshold {self.threshold:.3g}"
        self._window[self._count % self._spec.window] = self.mean
        self._count += 1
        self._learning = max(0, self._learning - 1)
        if not self._learning and (math.isinf(self.threshold) or self._count % _REFIT == 0):
            known = self._window[: min(self._count, self._spec.window)]
            usual = float(np.quantile(known, 0.99))
            self.threshold = usual + (self._spec.factor - 1) * abs(usual)
        return ""

    def reset(self) -> None:
        self.mean = 0.0
        self._seen = 0
