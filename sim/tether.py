"""Position drives whose command stays near where their joint is, as legged robots' inner loops keep it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.simulation import Drive


class Tether:
    """Keeps commands within `max_error` of the measured position, so that a far target pulls no harder than a near one.

    DayDreamer's A1 has it in its inner loop: https://arxiv.org/abs/2206.14176. The model's drives have their actuators
    already.
    """

    def __init__(self, model: mujoco.MjModel, drives: Iterable[Drive]) -> None:
        tied = {name: drive.max_error for drive in drives if drive.max_error for name in drive.joints}
        self._actuators = np.array([model.actuator(name).id for name in tied], int)
        self._addresses = np.array([model.joint(name).qposadr[0] for name in tied], int)
        self._most = np.array(list(tied.values()))
        self._found = np.empty(len(tied))

    @property
    def used(self) -> bool:
        """There are such drives."""
        return len(self._most) > 0

    def hold(self, control: NDArray[np.float64], data: Any) -> None:
        """Set MuJoCo's control to `control`, shape (actuators,), as far as the tether reaches."""
        found, most = self._found, self._most
        np.take(data.qpos, self._addresses, out=found, mode="clip")
        data.ctrl[:] = control
        data.ctrl[self._actuators] = np.maximum(np.minimum(control[self._actuators], found + most), found - most)
