"""A Butterworth low-pass on commands, as DayDreamer's A1 has one on its joint targets: https://arxiv.org/abs/2206.14176.

A policy under training jumps from one target to another; what is above the cutoff would only shake the robot. Guard
limits and rates come after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.limits import Commands
from robot_dreamer.spec import ActionSpec


def butterworth(order: int, cutoff: float, rate: float) -> NDArray[np.float64]:
    """Low-pass coefficients by the bilinear transform, the cutoff prewarped.

    Args:
      order: of the filter, at least 1.
      cutoff: Hz, where the gain is 1/sqrt(2); below half the rate.
      rate: samples per second.

    Returns:
      [(order + 1) // 2, 5]: sections of second (the last one of an odd order: of first) order, each b0, b1, b2, a1, a2.
    """
    k = math.tan(math.pi * cutoff / rate)
    sections = []
    for i in range(order // 2):
        damping = 2.0 * k * math.sin(math.pi * (2 * i + 1) / (2 * order))  # of the i-th pair of poles on the circle
        norm = 1.0 + damping + k * k
        gain = k * k / norm
        sections.append([gain, 2.0 * gain, gain, 2.0 * (k * k - 1.0) / norm, (1.0 - damping + k * k) / norm])
    if order % 2:
        sections.append([k / (1.0 + k), k / (1.0 + k), 0.0, (k - 1.0) / (k + 1.0), 0.0])
    return np.array(sections)


class LowPass:
    """One filter for all numbers of a command.

    Args:
      coefficients: as `butterworth` returns them.
      size: numbers in a command.
    """

    def __init__(self, coefficients: NDArray[np.float64], size: int) -> None:
        self._coefficients = coefficients
        self._state = np.zeros((len(coefficients), 2, size))

    def reset(self, value: NDArray[np.float64]) -> None:
        """As if `value`, shape (size,), had been the input for ever."""
        for (_, b1, b2, a1, a2), state in zip(self._coefficients, self._state, strict=True):
            state[1] = (b2 - a2) * value
            state[0] = (b1 - a1) * value + state[1]

    def step(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Next output, shape (size,). Transposed direct form II: it rounds least."""
        for (b0, b1, b2, a1, a2), state in zip(self._coefficients, self._state, strict=True):
            out = b0 * value + state[0]
            state[0] = b1 * value - a1 * out + state[1]
            state[1] = b2 * value - a2 * out
            value = out
        return value


class CommandLowPass:
    """The filters of a robot's actions; an action without one passes unchanged."""

    def __init__(self, actions: Iterable[ActionSpec], rate: float) -> None:
        self._filters = {
            a.name: LowPass(butterworth(a.filter.order, a.filter.cutoff, rate), a.size)
            for a in actions
            if a.filter is not None
        }

    def reset(self, commands: Mapping[str, NDArray[Any]]) -> None:
        """Go on from these commands (by action name, in units), the last ones that the robot got."""
        for name, low_pass in self._filters.items():
            low_pass.reset(np.asarray(commands[name], np.float64))

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> Commands:
        """Filter one set of commands; call it once per control tick."""
        filters = self._filters
        return {name: filters[name].step(x) if name in filters else x for name, x in commands.items()}
