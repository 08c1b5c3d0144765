"""Motors whose torque falls as they turn: the straight line of a DC motor, applied before each physics step."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import SpecError
from sim.simulation import Motor
from sim.units import require_known


class Motors:
    """Bounds what actuators give by how fast their joints turn.

    A motor at rest gives at most `max_torque`; the faster it turns, the less it can give in that direction, down to
    nothing at `no_load_speed`, beyond which it brakes. Against its motion it can give all. What an actuator is limited
    to by itself, it stays limited to: a current limit cuts the line off. `strength` of `simulation.vary` scales both.

    Args:
      model: its actuators get `max_torque` as their limits, where those of their own are not lower.

    Attributes:
      used: there are any.

    Raises:
      SpecError: the model has no actuator on such a joint, two motors are on one, or it is left no force.
    """

    def __init__(self, model: mujoco.MjModel, motors: tuple[Motor, ...]) -> None:
        on_joints = [i for i in range(model.nu) if model.actuator_trntype[i] == int(mujoco.mjtTrn.mjTRN_JOINT)]
        driven = {model.joint(model.actuator_trnid[i, 0]).name: i for i in on_joints}
        names = [name for motor in motors for name in motor.joints]
        require_known("joint with an actuator", names, driven, "simulation.motors")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SpecError(f"simulation.motors: one motor a joint; these have more: {', '.join(twice)}")
        self._actuators = np.array([driven[name] for name in names], int)
        self._dofs = np.array([int(model.joint(name).dofadr[0]) for name in names], int)
        gears = model.actuator_gear[self._actuators, 0]
        torques = np.array([motor.max_torque for motor in motors for _ in motor.joints])
        self._speeds = np.array([motor.no_load_speed for motor in motors for _ in motor.joints]) * np.sign(gears)
        self._nominal = torques / np.abs(gears)  # at rest, as the actuator gives them
        self._least, self._most = model.actuator_forcerange.T  # the model's own numbers
        limited = model.actuator_forcelimited[self._actuators].astype(bool)
        low = np.where(limited, self._least[self._actuators], -math.inf).clip(min=-self._nominal)
        high = np.where(limited, self._most[self._actuators], math.inf).clip(max=self._nominal)
        if empty := [name for name, least, most in zip(names, low, high, strict=True) if least >= most]:
            text = "the actuator's own forcerange leaves nothing of what the motor gives"
            raise SpecError(f"simulation.motors: {', '.join(empty)}: {text}")
        model.actuator_forcelimited[self._actuators] = True
        self._width = high - low
        self._write(low, high)
        self.used = bool(names)
        self.begin()

    def begin(self) -> None:
        """The limits of the model, as they are now, are those of motors at rest."""
        self._low, self._high = self._least[self._actuators], self._most[self._actuators]
        self._stall = self._nominal * (self._high - self._low) / self._width

    def release(self) -> None:
        """The limits as they were at `begin`."""
        self._write(self._low, self._high)

    def limit(self, data: Any) -> None:
        """Bound what the next physics step may give."""
        turning = data.qvel[self._dofs] / self._speeds  # as a share of the no-load speed, in the actuator's direction
        high = (self._stall * (1.0 - turning)).clip(self._low, self._high)
        low = (-self._stall * (1.0 + turning)).clip(self._low, self._high)
        self._write(low, high)

    def _write(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        self._least[self._actuators] = low
        self._most[self._actuators] = high
