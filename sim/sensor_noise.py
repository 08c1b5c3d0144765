"""Noise and bias of sensors: the rows of `simulation.vary` that change what is published, not the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, NamedTuple

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
        self._places = _places(example)
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
        for (vary, _), drawn in zip(self._rows, self._drawn, strict=True):
            for name, much in drawn.items():
                exact = changes[name] if name in changes else self._places[name].of(readings)
                added = generator.normal(0.0, much, len(exact)) if vary.quantity == NOISE else much
                changes[name] = exact + added
        groups: dict[str, dict[str, Any]] = {}
        for name, numbers in changes.items():
            place = self._places[name]
            if place.field == "orientation":
                numbers /= np.linalg.norm(numbers)
            group = groups.setdefault(place.group, dict(getattr(readings, place.group)))
            reading = group[place.topic]
            group[place.topic] = numbers if place.group == "arrays" else replace(reading, **{place.field: numbers})
        return replace(readings, **groups)


class _Place(NamedTuple):
    """Where some numbers stand in readings; those of a topic of arrays are called its `data`."""

    group: str
    topic: str
    field: str

    def of(self, readings: Readings) -> Any:
        reading = getattr(readings, self.group)[self.topic]
        return reading if self.group == "arrays" else getattr(reading, self.field)


def _places(readings: Readings) -> dict[str, _Place]:
    """`topic.field` -> where its numbers are; pictures have none."""
    found = {f"{topic}.data": _Place("arrays", topic, "data") for topic in readings.arrays}
    for group in ("joints", "imus", "odometry", "poses", "twists"):
        for topic, reading in getattr(readings, group).items():
            for entry in fields(reading):
                if isinstance(getattr(reading, entry.name), np.ndarray):
                    found[f"{topic}.{entry.name}"] = _Place(group, topic, entry.name)
    return found


def numbers_of(readings: Readings) -> dict[str, NDArray[np.float64]]:
    """`topic.field` -> numbers; pictures have none."""
    return {name: place.of(readings) for name, place in _places(readings).items()}


def _plain(drawn: dict[str, Any]) -> dict[str, float | list[float]]:
    return {name: np.asarray(value).tolist() for name, value in drawn.items()}
