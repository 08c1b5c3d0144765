"""How long each quantity has stood still to the last bit while commands changed: a driver that sends the same picture
or position with fresh stamps looks alive.

A robot that truly stands still is not meant: where commands do not change, no time counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import RobotSpec

_MOVE = 0.01  # of a command's range: less is no change that a sensor must show
_REST = 0.5  # seconds without a change of commands after which no time counts


class Stillness:
    """Looks at each tick, in the thread that ticks; `seconds` may be read in any."""

    def __init__(self, spec: RobotSpec) -> None:
        self.seconds: dict[str, float] = {o.name: 0.0 for o in spec.quantities}
        self._period = spec.period
        self._least = {a.name: 0.0 if a.discrete else _MOVE * (np.asarray(a.high) - a.low) for a in spec.actions}
        self._seen: dict[str, NDArray[Any]] = {}
        self._commands: dict[str, NDArray[np.float64]] = {}  # when they changed last
        self._rest = _REST

    def look(self, observation: Mapping[str, NDArray[Any]], commands: Mapping[str, NDArray[np.float64]]) -> None:
        """What the robot shows, and the commands in force, in units."""
        known = self._commands
        moved = any(n in known and (np.abs(c - known[n]) > self._least[n]).any() for n, c in commands.items())
        if moved or not known:
            self._commands = dict(commands)
        self._rest = 0.0 if moved else self._rest + self._period
        for name, found in observation.items():
            before = self._seen.get(name)
            if before is None or not np.array_equal(found, before):
                self._seen[name] = found
                self.seconds[name] = 0.0
            elif self._rest < _REST:
                self.seconds[name] += self._period
