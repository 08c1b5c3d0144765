"""What all worlds share: a MuJoCo model and its state by dm_control's `Physics`, which notices when it loses itself."""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import mujoco
import numpy as np
from dm_control.rl.control import PhysicsError
from numpy.typing import NDArray

from robot_dreamer.environment import EpisodeBroken

Before = Callable[[int], int]  # physics steps to come -> after how many it must be called again, 1 to all of them
_RUNGE_KUTTA = int(mujoco.mjtIntegrator.mjINT_RK4)
_PICTURE = 480, 640  # height, width of pictures for people, px, at most
_ADVICE = (
    "without a screen set MUJOCO_GL=egl (Debian, Ubuntu: apt install libegl1), or MUJOCO_GL=osmesa, which needs no "
    "graphics driver (libosmesa6)"
)


class CannotRender(RuntimeError):
    """No picture can be taken on this machine; the message says what helps."""


def import_dm_control(part: str) -> ModuleType:
    """Import `dm_control.<part>`, with headless rendering where the machine has it and without rendering otherwise.

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
    return importlib.import_module(f"dm_control.{part}")


class PhysicsWorld:
    """Model, state and pictures of a world; physics: dm_control's."""

    def __init__(self, physics: Any) -> None:
        self._physics = physics
        self.model: mujoco.MjModel = physics.model.ptr
        self.data: mujoco.MjData = physics.data.ptr
        make_room(self.model, *_PICTURE)
        self._warned: NDArray[np.int32] = self.data.warning.number  # how often MuJoCo has, by kind

    def _advance(self, steps: int, before: Before | None) -> None:
        """Some physics steps, with `before` as in `World.step`: dm_control's own step, which takes longer around it.

        Raises PhysicsError, as that does, where MuJoCo has warned.
        """
        model, data, warned = self.model, self.data, self._warned.tolist()
        finish = mujoco.mj_step if model.opt.integrator == _RUNGE_KUTTA else mujoco.mj_step2
        while steps:
            number = steps if before is None else before(steps)
            finish(model, data)
            if number > 1:
                mujoco.mj_step(model, data, number - 1)
            mujoco.mj_step1(model, data)
            steps -= number
        if self._warned.tolist() != warned:
            kinds = zip(mujoco.mjtWarning.__members__, self._warned, warned, strict=False)
            raise PhysicsError(f"MuJoCo warned of {', '.join(kind for kind, now, then in kinds if now != then)}")

    def settle(self) -> None:
        """Compute anew what follows from the state, after the model has changed."""
        with whole:
            self._physics.after_reset()

    def render(self, camera: int, height: int, width: int) -> NDArray[np.uint8]:
        """RGB picture [height, width, 3] by a camera of the model, -1: by a free one. Raises CannotRender."""
        picture: NDArray[np.uint8] = rendered(self._physics, height, width, camera_id=camera)
        return picture

    def depth(self, camera: int, height: int, width: int) -> NDArray[np.float32]:
        """Distances along the axis of a camera of the model, [height, width, 1], m. Raises CannotRender."""
        distances: NDArray[np.float32] = rendered(self._physics, height, width, camera_id=camera, depth=True)
        return distances[..., None]


def rendered(physics: Any, height: int, width: int, **what: Any) -> Any:
    """What `Physics.render` returns. Raises CannotRender."""
    try:
        return physics.render(height, width, **what)
    except Exception as error:
        # PyOpenGL's errors cannot be imported before dm_control has chosen its backend.
        if not (isinstance(error, RuntimeError | mujoco.FatalError) or type(error).__module__.startswith("OpenGL")):
            raise
        found = f"MUJOCO_GL is {os.environ.get('MUJOCO_GL', 'not set')}"
        raise CannotRender(f"cannot take a picture of the simulation: {error} ({found}); {_ADVICE}") from error


def make_room(model: mujoco.MjModel, height: int, width: int) -> None:
    """Let pictures of this size be taken: MuJoCo draws none larger than a buffer that it makes for the first one."""
    buffer = model.vis.global_
    buffer.offheight, buffer.offwidth = max(buffer.offheight, height), max(buffer.offwidth, width)


class _Whole:
    """Around steps of a `Physics`: raises EpisodeBroken when they lose it.

    MuJoCo itself would go on from the initial state and only count a warning.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PhysicsError):
            raise EpisodeBroken("diverged", f"the simulation lost itself: {error}") from error


whole = _Whole()
