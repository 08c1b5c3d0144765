"""Noise and bias of sensors: the rows of `simulation.vary` that change what is published, not the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from robot_dreamer.spec import SpecError
from sim.sensors import Readings
from sim.simulation import Vary
from sim.variation import Drawn, matching

NOISE, BIAS = "noise", "bias"


class SensorNoise:
    """Adds normal noise and a bias to readings, in the units of their topics.

    Of a row of `noise` the standard deviation is drawn, of one of `bias` the bias of each number. Both are of a field
    of a topic, such as `joint_states.position` or `imu/data.angular_velocity`. Quaternions are made unit again.

    Args:
      table: rows with their numbers.
      example: readings, for their topics, fields and sizes.

    Raises:
      SpecError: no such topic and field, or a standard deviation below 0.
    """

    def __init__(self, table: Iterable[tuple[int, Vary]], example: Readings) -> None:
        sizes = {name: len(values) for name, values in numbers_of(example).items()}
        self._rows: list[tuple[Vary, dict[str, int]]] = []
        for number, vary in table:
            where = f"simulation.vary[{number}], {vary.quantity}"
            if vary.how not in ("", "add"):
                raise SpecError(f"{where}: how must be add, found {vary.how}")
            if vary.quantity == NOISE and vary.range[0] < 0:
                raise SpecError(f"{where}: a standard deviation is at least 0, found {vary.range[0]:g}")
            names = matching("field of a topic", dict(enumerate(sizes)), vary.of, where).values()
            self._rows.append((vary, {name: sizes[name] for name in names}))
        self._drawn: list[dict[str, Any]] = []

    @property
    def intervals(self) -> list[tuple[float, float]]:
        """Least and most seconds between two draws of each row."""
        return [vary.interval for vary, _ in self._rows]

    def draw(self, generator: Generator) -> Drawn:
        """Begin an episode; returns what was drawn."""
        self._drawn = [self._draw(number, generator) for number in range(len(self._rows))]
        shown: Drawn = {}
        for (vary, _), drawn in zip(self._rows, self._drawn, strict=True):
            shown.setdefault(vary.quantity, {}).update(_plain(drawn))
        return shown

    def redraw(self, number: int, generator: Generator) -> Drawn:
        """Draw one row anew, amid an episode."""
        self._drawn[number] = self._draw(number, generator)
        return {self._rows[number][0].quantity: _plain(self._drawn[number])}

    def _draw(self, number: int, generator: Generator) -> dict[str, Any]:
        vary, sizes = self._rows[number]
        one = vary.quantity == NOISE
        return {name: generator.uniform(*vary.range, None if one else size) for name, size in sizes.items()}

    def add(self, readings: Readings, generator: Generator) -> Readings:
        """A copy with noise and bias; without rows the same."""
        if not self._rows:
            return readings
        changes: dict[str, NDArray[np.float64]] = {}
        numbers = numbers_of(readings)
        for (vary, _), drawn in zip(self._rows, self._drawn, strict=True):
            for name, much in drawn.items():
                exact = changes.get(name, numbers[name])
                added = generator.normal(0.0, much, len(exact)) if vary.quantity == NOISE else much
                changes[name] = exact + added
        for name in changes:
            if name.endswith(".orientation"):
                changes[name] /= np.linalg.norm(changes[name])
        return _changed(readings, changes)


def numbers_of(readings: Readings) -> dict[str, NDArray[np.float64]]:
    """`topic.field` -> numbers; pictures have none."""
    found = {f"{topic}.data": values for topic, values in readings.arrays.items()}
    for group in (readings.joints, readings.imus, readings.odometry, readings.poses, readings.twists):
        for topic, reading in group.items():
            for entry in fields(reading):
                value = getattr(reading, entry.name)
                if isinstance(value, np.ndarray):
                    found[f"{topic}.{entry.name}"] = value
    return found


def _changed(readings: Readings, changes: dict[str, NDArray[np.float64]]) -> Readings:
    def group(kind: dict[str, Any]) -> dict[str, Any]:
        return {
            topic: replace(reading, **_of(changes, topic, {f.name for f in fields(reading)}))
            for topic, reading in kind.items()
        }

    return replace(
        readings,
        joints=group(readings.joints),
        imus=group(readings.imus),
        odometry=group(readings.odometry),
        poses=group(readings.poses),
        twists=group(readings.twists),
        arrays={topic: changes.get(f"{topic}.data", values) for topic, values in readings.arrays.items()},
    )


def _of(changes: dict[str, Any], topic: str, names: set[str]) -> dict[str, Any]:
    return {name: changes[f"{topic}.{name}"] for name in names if f"{topic}.{name}" in changes}


def _plain(drawn: dict[str, Any]) -> dict[str, float | list[float]]:
    return {name: np.asarray(value).tolist() for name, value in drawn.items()}
