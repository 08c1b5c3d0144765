"""What of a MuJoCo model `simulation.vary` can change: each quantity's numbers, their bounds, how they are written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
_GAINS = ("actuator_gainprm", "actuator_biasprm")
_DEFAULT_RGBA = [0.5, 0.5, 0.5, 1.0]  # of a geom that leaves its colour to its material


@dataclass(frozen=True)
class Quantity:
    """Something of a model that has a number, or some, for each of its geoms, bodies, joints, …

    Attributes:
      kind: of what: geom, body, joint (hinges and slides), actuator, camera, light.
      unit: of the numbers, for people.
      hows: what may be done with them: scale, add, set; the first is the default.
      low, high: bounds of what comes out of it.
      fields: arrays of the model that `write` changes.
      read: model, index -> numbers (n,).
      write: model, index, new numbers; the model is nominal there.
      fits: model, index -> whether this one has the quantity.
    """

    kind: str
    unit: str
    hows: tuple[str, ...]
    low: float
    high: float
    fields: tuple[str, ...]
    read: Callable[[Any, int], Numbers]
    write: Callable[[Any, int, Numbers], None]
    fits: Callable[[Any, int], bool] = lambda model, index: True


def names_of(model: mujoco.MjModel, kind: str) -> dict[int, str]:
    """Index -> name of all of a kind; those without a name are called by kind and index."""
    count = {"joint": "njnt", "actuator": "nu", "camera": "ncam"}.get(kind, f"n{kind}")
    return {i: getattr(model, kind)(i).name or f"{kind} {i}" for i in range(getattr(model, count))}


def _column(kind: str, unit: str, field: str, column: int = 0, high: float = math.inf) -> Quantity:
    """A number of at least 0 that stands in a field of the model as it is."""

    def read(model: Any, index: int) -> Numbers:
        return np.atleast_1d(getattr(model, field)[index])[[column]].copy()

    def write(model: Any, index: int, value: Numbers) -> None:
        array = getattr(model, field)
        array.reshape(len(array), -1)[index, column] = value[0]

    return Quantity(kind, unit, ("scale", "add", "set"), 0.0, high, (field,), read, write)


def _dof(field: str, unit: str) -> Quantity:
    """A number of at least 0 of a joint's one degree of freedom."""

    def read(model: Any, index: int) -> Numbers:
        return getattr(model, field)[[model.jnt_dofadr[index]]].copy()

    def write(model: Any, index: int, value: Numbers) -> None:
        getattr(model, field)[model.jnt_dofadr[index]] = value[0]

    return Quantity("joint", unit, ("scale", "add", "set"), 0.0, math.inf, (field,), read, write, _has_one_dof)


def _vector(kind: str, unit: str, field: str) -> Quantity:
    """A place that is moved along its three axes."""

    def read(model: Any, index: int) -> Numbers:
        return np.float64(getattr(model, field)[index])

    def write(model: Any, index: int, value: Numbers) -> None:
        getattr(model, field)[index] = value

    return Quantity(kind, unit, ("add",), -math.inf, math.inf, (field,), read, write)


def _has_one_dof(model: Any, index: int) -> bool:
    return int(model.jnt_type[index]) in (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))


def _write_mass(model: Any, index: int, value: Numbers) -> None:
    model.body_inertia[index] *= value[0] / model.body_mass[index]
    model.body_mass[index] = value[0]


def _write_kp(model: Any, index: int, value: Numbers) -> None:
    model.actuator_gainprm[index, 0], model.actuator_biasprm[index, 1] = value[0], -value[0]


def _write_kv(model: Any, index: int, value: Numbers) -> None:
    if _is_velocity(model, index):
        model.actuator_gainprm[index, 0] = value[0]
    model.actuator_biasprm[index, 2] = -value[0]


def _write_strength(model: Any, index: int, value: Numbers) -> None:
    for field in (*_GAINS, "actuator_forcerange"):
        getattr(model, field)[index] *= value[0]
    if int(model.actuator_trntype[index]) == int(mujoco.mjtTrn.mjTRN_JOINT):
        model.jnt_actfrcrange[model.actuator_trnid[index, 0]] *= value[0]  # a URDF's effort


def _write_light(model: Any, index: int, value: Numbers) -> None:
    for field in ("light_ambient", "light_diffuse", "light_specular"):
        getattr(model, field)[index] *= value[0]


def _read_colour(model: Any, index: int) -> Numbers:
    material = model.geom_matid[index]
    plain = material >= 0 and np.allclose(model.geom_rgba[index], _DEFAULT_RGBA)
    return np.float64((model.mat_rgba[material] if plain else model.geom_rgba[index])[:3])


def _write_colour(model: Any, index: int, value: Numbers) -> None:
    material = model.geom_matid[index]
    if material >= 0 and np.allclose(model.geom_rgba[index], _DEFAULT_RGBA):
        model.geom_rgba[index, 3] = model.mat_rgba[material, 3]
    model.geom_rgba[index, :3] = np.clip(value, 0.0, 1.0)


def _write_angle(model: Any, index: int, value: Numbers) -> None:
    turn, turned = np.zeros(4), np.zeros(4)
    angle = float(np.linalg.norm(value))
    mujoco.mju_axisAngle2Quat(turn, value / angle if angle else np.array([1.0, 0.0, 0.0]), angle)
    mujoco.mju_mulQuat(turned, model.cam_quat[index], turn)
    model.cam_quat[index] = turned


def _write_offset(model: Any, index: int, value: Numbers) -> None:
    model.qpos0[model.jnt_qposadr[index]] = value[0]


def _is_affine(model: Any, index: int) -> bool:
    return int(model.actuator_gaintype[index]) == int(mujoco.mjtGain.mjGAIN_FIXED)


def _is_position(model: Any, index: int) -> bool:
    gain, bias = model.actuator_gainprm[index], model.actuator_biasprm[index]
    return _is_affine(model, index) and gain[0] > 0 and bias[1] == -gain[0]


def _is_velocity(model: Any, index: int) -> bool:
    gain, bias = model.actuator_gainprm[index], model.actuator_biasprm[index]
    return _is_affine(model, index) and gain[0] > 0 and bias[1] == 0 and bias[2] == -gain[0]


_TINY = 1e-9  # kg; MuJoCo takes no moving body of no mass
_ALL = ("scale", "add", "set")

QUANTITIES: dict[str, Quantity] = {
    "friction": _column("geom", "", "geom_friction"),
    "mass": Quantity(
        "body",
        "kg; the inertia goes with it",
        _ALL,
        _TINY,
        math.inf,
        ("body_mass", "body_inertia"),
        lambda model, index: model.body_mass[[index]].copy(),
        _write_mass,
        lambda model, index: bool(model.body_mass[index] > 0),
    ),
    "centre_of_mass": _vector("body", "m, each axis of the body", "body_ipos"),
    "armature": _dof("dof_armature", "kg m^2, or kg"),
    "damping": _dof("dof_damping", "N m s/rad, or N s/m"),
    "frictionloss": _dof("dof_frictionloss", "N m, or N"),
    "kp": Quantity(
        "actuator",
        "of position drives, N m/rad, or N/m",
        _ALL,
        0.0,
        math.inf,
        _GAINS,
        lambda model, index: model.actuator_gainprm[index, :1].copy(),
        _write_kp,
        _is_position,
    ),
    "kv": Quantity(
        "actuator",
        "of position and velocity drives, N m s/rad, or N s/m",
        _ALL,
        0.0,
        math.inf,
        _GAINS,
        lambda model, index: -model.actuator_biasprm[index, 2:3],
        _write_kv,
        lambda model, index: _is_position(model, index) or _is_velocity(model, index),
    ),
    "strength": Quantity(
        "actuator",
        "share of the force that the model gives it, limits included",
        ("scale",),
        0.0,
        math.inf,
        (*_GAINS, "actuator_forcerange", "jnt_actfrcrange"),
        lambda model, index: np.ones(1),
        _write_strength,
        _is_affine,
    ),
    "joint_offset": Quantity(
        "joint",
        "rad, or m: where encoder and drive believe zero to be",
        ("add",),
        -math.inf,
        math.inf,
        ("qpos0",),
        lambda model, index: model.qpos0[[model.jnt_qposadr[index]]].copy(),
        _write_offset,
        _has_one_dof,
    ),
    "camera_position": _vector("camera", "m, each axis of the camera's body", "cam_pos"),
    "camera_angle": Quantity(
        "camera",
        "rad, a turn about each axis of the camera",
        ("add",),
        -math.pi,
        math.pi,
        ("cam_quat",),
        lambda model, index: np.zeros(3),
        _write_angle,
    ),
    "camera_fovy": _column("camera", "degrees", "cam_fovy", high=179.0),
    "light": Quantity(
        "light",
        "share of the model's brightness",
        ("scale",),
        0.0,
        math.inf,
        ("light_ambient", "light_diffuse", "light_specular"),
        lambda model, index: np.ones(1),
        _write_light,
    ),
    "colour": Quantity(
        "geom",
        "red, green and blue, cut to 0 to 1",
        ("add", "set"),
        -1.0,
        2.0,
        ("geom_rgba",),
        _read_colour,
        _write_colour,
    ),
}
"""Name in `simulation.vary` -> what it is."""
