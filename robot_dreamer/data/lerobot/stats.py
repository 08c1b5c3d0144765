"""Least, most, mean and spread of each feature, in one pass: what LeRobot's policies normalise with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Spread:
    """Of one feature, number by number; of pictures channel by channel, of 1, over all pixels."""

    def __init__(self) -> None:
        self._frames = self._numbers = 0
        self._total: Any = 0.0
        self._squares: Any = 0.0
        self._least: Any = np.inf
        self._most: Any = -np.inf

    def add(self, values: NDArray[Any]) -> None:
        """values: [frames, size], or uint8 [frames, height, width, channels]."""
        self._frames += len(values)
        if values.ndim == 4:
            for frame in values:  # one after the other: as numbers they are many times as large
                self._count(frame.reshape(-1, frame.shape[-1]) / 255.0)
        else:
            self._count(values.astype(np.float64))

    def _count(self, numbers: NDArray[np.float64]) -> None:
        self._numbers += len(numbers)
        self._total = self._total + numbers.sum(0)
        self._squares = self._squares + np.square(numbers).sum(0)
        self._least = np.minimum(self._least, numbers.min(0))
        self._most = np.maximum(self._most, numbers.max(0))

    def stats(self, picture: bool) -> dict[str, Any]:
        """As stats.json has them; of pictures [channels, 1, 1]."""
        mean = self._total / self._numbers
        spread = np.sqrt(np.maximum(self._squares / self._numbers - np.square(mean), 0.0))
        found = {"min": self._least, "max": self._most, "mean": mean, "std": spread}
        shaped = {name: x[:, None, None] if picture else x for name, x in found.items()}
        return {name: x.tolist() for name, x in shaped.items()} | {"count": [self._frames]}
