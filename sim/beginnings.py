"""How an episode of an own model begins: `simulation.start`, with draws from the seed alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from robot_dreamer.spec import SpecError
from sim.simulation import Draw, Place
from sim.units import require_known

_Write = Callable[[Any, Generator], None]
_Pose = Callable[[Any], tuple[NDArray[np.float64], NDArray[np.float64]]]


class Beginnings:
    """Puts joints and free bodies where an episode begins; what is not named stays as the keyframe says.

    Args:
      start: joint -> rad or m, body -> its place; a pair of numbers is a range that is drawn from evenly.
      file: of the model, for messages.

    Raises:
      SpecError: the model has no such joint or free body, or the joint cannot be there.
    """

    def __init__(self, model: mujoco.MjModel, start: Mapping[str, Draw | Place], file: Path) -> None:
        where = f"{file}, simulation.start"
        positions = {name: draw for name, draw in start.items() if not isinstance(draw, Place)}
        places = {name: place for name, place in start.items() if isinstance(place, Place)}
        require_known("hinge or slide joint", positions, joint_names(model), where)
        free = _free_bodies(model)
        require_known("body with a free joint or mocap body", places, free, where)
        self._writes: list[_Write] = [_joint(model, name, draw, where) for name, draw in positions.items()]
        self._writes += [_body(free[name], place) for name, place in places.items()]

    def apply(self, data: Any, generator: Generator) -> None:
        """Draw and write; the generator is asked for the same numbers each time."""
        for write in self._writes:
            write(data, generator)

    def __len__(self) -> int:
        return len(self._writes)


def joint_names(model: mujoco.MjModel) -> list[str]:
    """Names of the hinge and slide joints."""
    kinds = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
    return [model.joint(i).name for i in range(model.njnt) if model.jnt_type[i] in kinds and model.joint(i).name]


def drawn(draw: Draw, generator: Generator) -> float:
    """The number, or one drawn evenly from the range."""
    return generator.uniform(*draw) if isinstance(draw, tuple) else draw


def _joint(model: mujoco.MjModel, name: str, draw: Draw, where: str) -> _Write:
    joint = model.joint(name)
    low, high = joint.range
    for end in draw if isinstance(draw, tuple) else (draw,):
        if model.jnt_limited[joint.id] and not low <= end <= high:
            raise SpecError(f"{where}: joint {name}: expected {low:g} to {high:g}, found {end:g}")
    address = int(joint.qposadr[0])

    def write(data: Any, generator: Generator) -> None:
        data.qpos[address] = drawn(draw, generator)

    return write


def _body(pose: _Pose, place: Place) -> _Write:
    def write(data: Any, generator: Generator) -> None:
        position, orientation = pose(data)
        for axis, draw in enumerate((place.x, place.y, place.z)):
            if draw is not None:
                position[axis] = drawn(draw, generator)
        if place.tumbled:
            any_way = generator.normal(size=4)  # a direction in four dimensions: all orientations alike
            orientation[:] = any_way / np.linalg.norm(any_way)
        turn = drawn(place.turn, generator)
        if turn:
            about, turned = np.zeros(4), np.zeros(4)
            mujoco.mju_axisAngle2Quat(about, np.array([0.0, 0.0, 1.0]), turn)
            mujoco.mju_mulQuat(turned, about, orientation)
            orientation[:] = turned

    return write


def _free_bodies(model: mujoco.MjModel) -> dict[str, _Pose]:
    """Body -> views of its position and orientation (w, x, y, z) in MuJoCo's data."""
    found: dict[str, _Pose] = {}
    for i in range(model.nbody):
        body = model.body(i)
        joint, mocap = int(model.body_jntadr[i]), int(model.body_mocapid[i])
        if joint >= 0 and model.jnt_type[joint] == int(mujoco.mjtJoint.mjJNT_FREE):
            found[body.name] = functools.partial(_free_pose, int(model.jnt_qposadr[joint]))
        elif mocap >= 0:
            found[body.name] = functools.partial(_mocap_pose, mocap)
    return found


def _free_pose(address: int, data: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return data.qpos[address : address + 3], data.qpos[address + 3 : address + 7]


def _mocap_pose(mocap: int, data: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return data.mocap_pos[mocap], data.mocap_quat[mocap]
