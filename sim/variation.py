"""How a model differs from episode to episode: `simulation.vary`, drawn from the seed alone."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from robot_dreamer.spec import SpecError
from sim.quantities import QUANTITIES, Numbers, Quantity, names_of
from sim.simulation import Vary

Drawn = dict[str, dict[str, float | list[float]]]  # quantity -> name -> what was drawn
_STATISTIC = (
    "meanmass",
    "meansize",
    "extent",
    "center",
)


@dataclass
class _Row:
    """A row of the table, as this model has it."""

    vary: Vary
    quantity: Quantity
    names: dict[int, str]
    drawn: dict[int, Numbers] = field(default_factory=dict)

    def result(self, nominal: Numbers, drawn: Numbers) -> Numbers:
        how = self.vary.how or self.quantity.hows[0]
        return nominal * drawn if how == "scale" else nominal + drawn if how == "add" else drawn


class ModelVariation:
    """Changes a model, and puts it back.

    Args:
      table: the rows of `simulation.vary` that are about the model.

    Raises:
      SpecError: the model has no such thing, or no such number is possible there; the message names row and name.
    """

    def __init__(self, table: Iterable[tuple[int, Vary]], model: mujoco.MjModel) -> None:
        self._model: Any = model
        self._scratch = mujoco.MjData(model)
        self._rows = [_row(number, vary, model) for number, vary in table]
        self._fields = sorted({name for row in self._rows for name in row.quantity.fields})
        self._nominal: dict[str, NDArray[Any]] = {}
        _refuse_twice((row.vary.quantity, name) for row in self._rows for name in row.names.values())

    def restore(self) -> None:
        """The model as it was before `draw`."""
        for name, values in self._nominal.items():
            getattr(self._model, name)[:] = values
        self._settle()

    def draw(self, generator: Generator) -> Drawn:
        """Change the model as it is now; returns what was drawn."""
        self._nominal = {name: getattr(self._model, name).copy() for name in self._fields}
        for row in self._rows:
            self._draw(row, generator)
        return self._apply(self._rows)

    def redraw(self, number: int, generator: Generator) -> Drawn:
        """Draw one row anew, amid an episode."""
        row = self._rows[number]
        self._draw(row, generator)
        self.restore()
        self._apply(self._rows)
        return _shown([row])

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    @property
    def intervals(self) -> list[tuple[float, float]]:
        """Least and most seconds between two draws of each row."""
        return [row.vary.interval for row in self._rows]

    def _draw(self, row: _Row, generator: Generator) -> None:
        for index in row.names:
            size = len(row.quantity.read(self._model, index))
            row.drawn[index] = generator.uniform(*row.vary.range, size)

    def _apply(self, rows: list[_Row]) -> Drawn:
        for row in rows:
            for index, drawn in row.drawn.items():
                row.quantity.write(self._model, index, row.result(row.quantity.read(self._model, index), drawn))
        self._settle()
        return _shown(rows)

    def _settle(self) -> None:
        """What MuJoCo computes of the model once; from nominal numbers it is the same to the last bit. MuJoCo 3.5
        puts numbers of its own in place of what the file says as `<statistic>` (3.17 does not): it stays."""
        if self._rows:
            said = {name: np.array(getattr(self._model.stat, name)) for name in _STATISTIC}
            mujoco.mj_setConst(self._model, self._scratch)
            for name, value in said.items():
                setattr(self._model.stat, name, value)


def matching(kind: str, names: dict[int, str], pattern: str, where: str) -> dict[int, str]:
    """Those whose name has the pattern. Raises SpecError with all names if none has."""
    found = {index: name for index, name in names.items() if fnmatch.fnmatchcase(name, pattern)}
    if not found:
        raise SpecError(f"{where}: no {kind} is called {pattern!r}; there are: {', '.join(names.values()) or 'none'}")
    return found


def _refuse_twice(pairs: Iterable[tuple[str, str]]) -> None:
    seen: set[tuple[str, str]] = set()
    for quantity, name in pairs:
        if (quantity, name) in seen:
            raise SpecError(f"simulation.vary: two rows change {quantity} of {name}; give each pattern its own names")
        seen.add((quantity, name))


def _row(number: int, vary: Vary, model: mujoco.MjModel) -> _Row:
    where = f"simulation.vary[{number}], {vary.quantity}"
    quantity = QUANTITIES[vary.quantity]
    if vary.how and vary.how not in quantity.hows:
        raise SpecError(f"{where}: how must be {' or '.join(quantity.hows)}, found {vary.how}")
    having = {i: name for i, name in names_of(model, quantity.kind).items() if quantity.fits(model, i)}
    row = _Row(vary, quantity, matching(f"{quantity.kind} with {vary.quantity}", having, vary.of, where))
    for index, name in row.names.items():
        nominal = quantity.read(model, index)
        for end in vary.range:
            result = row.result(nominal, np.full(len(nominal), end))
            if not ((result >= quantity.low) & (result <= quantity.high)).all():
                raise SpecError(
                    f"{where} of {name}: {vary.how or quantity.hows[0]} by {end:g} makes {nominal.tolist()} "
                    f"{result.tolist()}; expected {quantity.low:g} to {quantity.high:g}"
                )
    return row


def _shown(rows: list[_Row]) -> Drawn:
    shown: Drawn = {}
    for row in rows:
        entry = shown.setdefault(row.vary.quantity, {})
        for index, drawn in row.drawn.items():
            entry[row.names[index]] = drawn.tolist() if len(drawn) > 1 else float(drawn[0])
    return shown
