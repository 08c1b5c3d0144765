"""Position drives whose command stays near where their joint is, as legged robots' inner loops keep it."""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.simulation import Drive


class Tether:
    """Keeps commands within `max_error` of the measured position, so that a far target pulls no harder than a near one.

    DayDreamer's A1 has it in its inner loop: https://arxiv.org/abs/2206.14176. The model's drives have their actuators
    already. It reads and writes the arrays of `data`, before every physics step.

    Attributes:
      used: there are such drives.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, drives: Iterable[Drive]) -> None:
        tied = {name: drive.max_error for drive in drives if drive.max_error for name in drive.joints}
        self._actuators = np.array([model.actuator(name).id for name in tied], int)
        self._addresses = np.array([model.joint(name).qposadr[0] for name in tied], int)
        self._most = np.array(list(tied.values()))
        self._positions, self._control = data.qpos, data.ctrl
        self.used = bool(tied)

    @property
    def wanted(self) -> NDArray[np.float64]:
        """A copy of what MuJoCo's control says of these drives, shape (drives,)."""
        return self._control[self._actuators]

    def hold(self, wanted: NDArray[np.float64]) -> None:
        """Set MuJoCo's control of these drives to `wanted`, shape (drives,), as far as the tether reaches."""
        found, most = self._positions[self._addresses], self._most
        self._control[self._actuators] = np.maximum(np.minimum(wanted, found + most), found - most)
