"""Do two publishers speak on one topic of a bag? Then the next message is like the one before, not like this one.

Of a single stream neighbours are the most alike. Where two take turns, every second message is: of its values, of the
pauses between messages, or of both.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ENOUGH = 20  # messages before anything is said
_ALIKE = 4.0  # times that neighbours differ more than every second one
_NOTABLE = 0.2  # of the mean pause: smaller differences are jitter


class _Alternation:
    """How much neighbours differ, and every second one, summed over a sequence of vectors."""

    def __init__(self) -> None:
        self.count = 0
        self.neighbours, self.seconds = 0.0, 0.0
        self._last: deque[NDArray[Any]] = deque(maxlen=2)

    def add(self, vector: NDArray[Any]) -> None:
        if len(self._last) == 2 and vector.shape == self._last[0].shape == self._last[1].shape:
            self.count += 1
            self.neighbours += float(np.abs(vector - self._last[1]).sum())
            self.seconds += float(np.abs(vector - self._last[0]).sum())
        self._last.append(vector)

    @property
    def found(self) -> bool:
        return self.count >= _ENOUGH and self.neighbours > _ALIKE * self.seconds


class Interleaving:
    """Looks at the messages of one topic, in the order of the bag."""

    def __init__(self) -> None:
        self._values, self._pauses = _Alternation(), _Alternation()
        self._time: int | None = None
        self._total = 0  # ns of all pauses

    def add(self, time: int, values: NDArray[Any] | None) -> None:
        """Receive time in ns, and the numbers of the message; None: it has none that could be compared."""
        if self._time is not None:
            self._total += time - self._time
            self._pauses.add(np.array([time - self._time], np.float64))
        self._time = time
        if values is not None and np.isfinite(values).all():
            self._values.add(values)

    def signs(self) -> str:
        """What alternates, in words; empty if nothing does."""
        pauses = self._pauses
        uneven = pauses.found and pauses.neighbours > _NOTABLE * self._total
        return " and ".join(x for x, found in (("values", self._values.found), ("pauses", uneven)) if found)
