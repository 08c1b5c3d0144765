"""Worlds: the MuJoCo simulation behind a robot, before any notion of sensors, topics or rates.

A world is named `<kind>:<rest>`; the kinds are the keys of `KINDS`.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
from collections.abc import Callable
from types import ModuleType
from typing import Protocol

import mujoco
import numpy as np
from dm_control.rl.control import PhysicsError
from numpy.typing import NDArray

from robot_dreamer.environment import EpisodeBroken
from robot_dreamer.spec import SpecError


class World(Protocol):
    """A MuJoCo model with a task.

    Attributes:
      control_step: seconds that one `step` simulates.
    """

    control_step: float

    @property
    def model(self) -> mujoco.MjModel: ...

    @property
    def data(self) -> mujoco.MjData: ...

    def seed(self, seed: int) -> None:
        """Make the following resets depend on this seed alone."""

    def reset(self) -> None:
        """Begin a new episode."""

    def step(self, control: NDArray[np.float64]) -> tuple[float, bool]:
        """Apply control (actuators of the model, in order) for one control step. Returns reward and terminal."""

    def render(self, camera: int, height: int, width: int) -> NDArray[np.uint8]:
        """RGB picture [height, width, 3]."""


class DmControlWorld:
    """A task of dm_control's suite, without its time limit: when an episode is over is the robot's spec's business."""

    def __init__(self, name: str, seed: int) -> None:
        suite = load_suite()
        domain, _, task = name.partition("/")
        if (domain, task) not in suite.ALL_TASKS:
            raise SpecError(f"unknown dm_control task {name!r}; known: {', '.join(dm_control_tasks())}")
        self._environment = suite.load(domain, task, task_kwargs={"random": seed, "time_limit": float("inf")})
        self._physics = self._environment.physics
        self.control_step = float(self._environment.control_timestep())

    @property
    def model(self) -> mujoco.MjModel:
        return self._physics.model.ptr

    @property
    def data(self) -> mujoco.MjData:
        return self._physics.data.ptr

    def seed(self, seed: int) -> None:
        self._environment.task.random.seed(seed)

    def reset(self) -> None:
        self._environment.reset()

    def step(self, control: NDArray[np.float64]) -> tuple[float, bool]:
        try:
            timestep = self._environment.step(control)
        except PhysicsError as error:
            raise EpisodeBroken("diverged", f"the simulation lost itself: {error}") from error
        return float(timestep.reward), timestep.discount == 0

    def render(self, camera: int, height: int, width: int) -> NDArray[np.uint8]:
        try:
            picture: NDArray[np.uint8] = self._physics.render(height, width, camera_id=camera)
        except (RuntimeError, mujoco.FatalError) as error:
            advice = "install EGL (Debian, Ubuntu: apt install libegl1) or set MUJOCO_GL"
            raise RuntimeError(f"cannot take a picture of the simulation: {error}; {advice}") from error
        return picture


KINDS: dict[str, Callable[[str, int], World]] = {"dm_control": DmControlWorld}


def make_world(name: str, seed: int) -> World:
    """Build the world `<kind>:<rest>`, for example dm_control:cartpole/swingup. Raises SpecError for unknown ones."""
    kind, _, rest = name.partition(":")
    if kind not in KINDS:
        raise SpecError(f"unknown kind of simulation model {name!r}; known: {', '.join(f'{k}:…' for k in KINDS)}")
    return KINDS[kind](rest, seed)


def dm_control_tasks() -> list[str]:
    """Known tasks as domain/task."""
    return sorted(f"{domain}/{task}" for domain, task in load_suite().ALL_TASKS)


def load_suite() -> ModuleType:
    """Import dm_control's suite, with headless rendering where the machine has it and without rendering otherwise.

    dm_control chooses its OpenGL backend while it is imported, and its first choice (a window) fails on a machine
    without a screen only when the first picture is taken. MUJOCO_GL, if set, is obeyed.
    """
    for chatty in ("absl", "OpenGL"):  # they tell at every start which OpenGL they found
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if "MUJOCO_GL" not in os.environ and "DISPLAY" not in os.environ:
        os.environ["MUJOCO_GL"] = "egl"
        try:
            ctypes.CDLL("libEGL.so.1")
            import dm_control._render  # noqa: F401  (opens an EGL display)
        except (OSError, ImportError):
            os.environ["MUJOCO_GL"] = "disable"
    return importlib.import_module("dm_control.suite")
