"""Odometry and pose of a body, and arrays of whatever MuJoCo's sensors measure: foot forces, distances."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import ObservationSpec, SpecError
from sim.units import Units, require_known

XYZW = np.array([1, 2, 3, 0])  # of a quaternion of MuJoCo, which is w, x, y, z


@dataclass(frozen=True, slots=True)
class OdometryReading:
    """What an Odometry topic shows of a body: where it is in the world, and its velocity in its own frame (REP 105)."""

    position: NDArray[np.float64]
    orientation: NDArray[np.float64]  # x, y, z, w
    linear_velocity: NDArray[np.float64]
    angular_velocity: NDArray[np.float64]


def odometry_reader(model: mujoco.MjModel, body: str, topic: str) -> Callable[[mujoco.MjData], OdometryReading]:
    """Reads the body of this name. Raises SpecError with the known ones if the model lacks it."""
    return functools.partial(_read_odometry, model, _body(model, body, f"odometry {topic!r}"))


def _body(model: mujoco.MjModel, name: str, where: str) -> int:
    names = [model.body(i).name for i in range(model.nbody)]
    require_known("body", [name], names, where)
    return names.index(name)


def _read_odometry(model: mujoco.MjModel, body: int, data: mujoco.MjData) -> OdometryReading:
    velocity = np.zeros(6)  # angular, linear
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, body, velocity, 1)
    return OdometryReading(data.xpos[body].copy(), data.xquat[body][XYZW], velocity[3:], velocity[:3])


@dataclass(frozen=True, slots=True)
class PoseReading:
    """What a PoseStamped topic shows of a body: where it is in the world."""

    position: NDArray[np.float64]
    orientation: NDArray[np.float64]  # x, y, z, w


def pose_reader(model: mujoco.MjModel, body: str, topic: str) -> Callable[[mujoco.MjData], PoseReading]:
    """Reads the body of this name. Raises SpecError with the known ones if the model lacks it."""
    index = _body(model, body, f"pose {topic!r}")
    return lambda data: PoseReading(data.xpos[index].copy(), data.xquat[index][XYZW])


def array_reader(
    model: mujoco.MjModel, sensors: tuple[str, ...], topic: str, observations: list[ObservationSpec]
) -> Callable[[mujoco.MjData], NDArray[np.float64]]:
    """Reads the numbers of some MuJoCo sensors, joined, in the driver's units.

    Raises:
      SpecError: the model lacks a sensor, or they measure more or fewer numbers than the observations name.
    """
    known = [model.sensor(i).name for i in range(model.nsensor)]
    require_known("sensor", sensors, known, f"array {topic!r}")
    starts = [(int(model.sensor(name).adr[0]), int(model.sensor(name).dim[0])) for name in sensors]
    index = np.concatenate([np.arange(start, start + size) for start, size in starts])
    for o in observations:
        if len(o.source.names) != len(index):
            raise SpecError(
                f"array {topic!r}: observation {o.name!r} names {len(o.source.names)} numbers, "
                f"simulation.arrays gives {len(index)}"
            )
    units = Units(observations, list(observations[0].source.names), topic)
    return lambda data: units.driver("data", data.sensordata[index])
