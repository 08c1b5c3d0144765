"""Pushes: forces on bodies out of nowhere, as a person or a wind would give them."""

from __future__ import annotations

import math
from typing import Any

import mujoco
from numpy.random import Generator

from robot_dreamer.spec import SpecError
from sim.quantities import names_of
from sim.simulation import Vary
from sim.variation import Drawn, matching

PUSH = "push"
_DURATION = 0.1  # s, of a push


class Push:
    """A row of `simulation.vary`: now and then one of its bodies gets an impulse (N s) in a horizontal direction.

    Attributes:
      until: the step at which it lets go; -1: it does not push.

    Raises:
      SpecError: no such body; or the row says no interval, or an impulse below 0.
    """

    def __init__(self, number: int, vary: Vary, model: mujoco.MjModel) -> None:
        where = f"simulation.vary[{number}], {PUSH}"
        if math.isinf(vary.interval[0]):
            raise SpecError(f"{where}: when must say the seconds between two pushes, such as [1.0, 3.0]")
        if vary.how:
            raise SpecError(f"{where}: a push has no how, found {vary.how}")
        if vary.range[0] < 0:
            raise SpecError(f"{where}: an impulse is at least 0 N s, found {vary.range[0]:g}")
        bodies = {i: name for i, name in names_of(model, "body").items() if i > 0}  # 0: the world
        self._names = matching("body", bodies, vary.of, where)
        self.interval, self._range = vary.interval, vary.range
        self._steps = max(1, round(_DURATION / model.opt.timestep))
        self._duration = self._steps * model.opt.timestep
        self._body, self.until = 0, -1

    def begin(self) -> None:
        """A new episode: nobody pushes."""
        self.until = -1

    def push(self, data: Any, now: int, generator: Generator) -> Drawn:
        """Push from step `now` on; returns the impulse, N s, in the world's x and y."""
        if self.until >= 0:
            self._release(data)
        self._body = list(self._names)[generator.integers(len(self._names))]
        impulse, angle = generator.uniform(*self._range), generator.uniform(0.0, 2 * math.pi)
        x, y = impulse * math.cos(angle), impulse * math.sin(angle)
        data.xfrc_applied[self._body, :2] = x / self._duration, y / self._duration
        self.until = now + self._steps
        return {PUSH: {self._names[self._body]: [x, y]}}

    def pass_by(self, data: Any, now: int) -> None:
        """Let go when it is time."""
        if 0 <= self.until <= now:
            self._release(data)

    def _release(self, data: Any) -> None:
        data.xfrc_applied[self._body, :2] = 0.0
        self.until = -1
