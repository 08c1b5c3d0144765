"""Pushes: forces on bodies out of nowhere, as a person or a wind would give them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import mujoco
from numpy.random import Generator

from robot_dreamer.spec import SpecError
from sim.quantities import names_of
from sim.simulation import Vary
from sim.variation import Drawn, matching

PUSH = "push"
_DURATION = 0.1  # s, of a push


class _Force(NamedTuple):
    """N, in the world's x and y, on a body until a step."""

    body: int
    x: float
    y: float
    until: int


class Pushes:
    """The rows of `simulation.vary` that push: now and then a body gets an impulse (N s) in a horizontal direction.

    Each push gives all of its impulse: what pushes a body at the same time adds up.

    Args:
      table: these rows.

    Attributes:
      intervals: least and most seconds between two pushes of each row.

    Raises:
      SpecError: no such body; or the row says no interval, or an impulse below 0.
    """

    def __init__(self, table: Sequence[tuple[int, Vary]], model: mujoco.MjModel) -> None:
        self._rows = [(vary.range, _bodies(number, vary, model)) for number, vary in table]
        self.intervals = [vary.interval for _, vary in table]
        self._steps = max(1, round(_DURATION / model.opt.timestep))
        self._duration = self._steps * model.opt.timestep
        self._forces: list[_Force] = []

    @property
    def ends(self) -> list[int]:
        """The steps at which somebody lets go."""
        return [force.until for force in self._forces]

    def begin(self) -> None:
        """A new episode: nobody pushes."""
        self._forces = []

    def push(self, number: int, data: Any, now: int, generator: Generator) -> Drawn:
        """A row's push from step `now` on; returns the impulse, N s, in the world's x and y."""
        impulses, names = self._rows[number]
        body = list(names)[generator.integers(len(names))]
        impulse, angle = generator.uniform(*impulses), generator.uniform(0.0, 2 * math.pi)
        x, y = impulse * math.cos(angle), impulse * math.sin(angle)
        self._forces.append(_Force(body, x / self._duration, y / self._duration, now + self._steps))
        self._apply(data, body)
        return {PUSH: {names[body]: [x, y]}}

    def pass_by(self, data: Any, now: int) -> None:
        """Let go where it is time."""
        ended = {force.body for force in self._forces if force.until <= now}
        if ended:
            self._forces = [force for force in self._forces if force.until > now]
            for body in ended:
                self._apply(data, body)

    def _apply(self, data: Any, body: int) -> None:
        forces = [force for force in self._forces if force.body == body]
        data.xfrc_applied[body, :2] = sum(force.x for force in forces), sum(force.y for force in forces)


def _bodies(number: int, vary: Vary, model: mujoco.MjModel) -> dict[int, str]:
    where = f"simulation.vary[{number}], {PUSH}"
    if math.isinf(vary.interval[0]):
        raise SpecError(f"{where}: when must say the seconds between two pushes, such as [1.0, 3.0]")
    if vary.how:
        raise SpecError(f"{where}: a push has no how, found {vary.how}")
    if vary.range[0] < 0:
        raise SpecError(f"{where}: an impulse is at least 0 N s, found {vary.range[0]:g}")
    bodies = {i: name for i, name in names_of(model, "body").items() if i > 0}  # 0: the world
    return matching("body", bodies, vary.of, where)
