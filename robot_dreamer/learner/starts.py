"""Where windows begin: a set of slots that is added to, taken from and drawn from in constant time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NONE = -1


class Starts:
    """Slots below `capacity`, in no order; the same additions and removals give the same draws."""

    def __init__(self, capacity: int) -> None:
        self._slots = np.zeros(capacity, np.int64)
        self._place = np.full(capacity, _NONE, np.int64)  # where a slot stands in _slots
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, slot: int) -> bool:
        return bool(self._place[slot] != _NONE)

    def add(self, slot: int) -> None:
        """Take in a slot that is not there."""
        self._place[slot] = self._count
        self._slots[self._count] = slot
        self._count += 1

    def remove(self, slot: int) -> None:
        """Take out a slot, if it is there."""
        place = self._place[slot]
        if place == _NONE:
            return
        self._count -= 1
        last = self._slots[self._count]
        self._slots[place] = last
        self._place[last] = place
        self._place[slot] = _NONE

    def draw(self, random: np.random.Generator, size: int) -> NDArray[np.int64]:
        """`size` slots, each of all with equal probability. Raises ValueError if there is none."""
        return self._slots[random.integers(0, self._count, size)]
