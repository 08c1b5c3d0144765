"""Worlds: the MuJoCo simulation behind a robot, before any notion of sensors, topics or rates.

A world is named `<kind>:<rest>`; the kinds are the keys of `KINDS`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import SpecError
from sim.own_model import MJCF, URDF, OwnModelWorld, model_file
from sim.physics import Before, PhysicsWorld, import_dm_control, whole
from sim.simulation import Simulation


class World(Protocol):
    """A MuJoCo model, with or without a task.

    Attributes:
      control_step: seconds that one `step` simulates.
      has_task: it says what the reward is and when the task has ended; otherwise these are 0 and never.
    """

    control_step: float
    has_task: bool

    @property
    def model(self) -> mujoco.MjModel: ...

    @property
    def data(self) -> mujoco.MjData: ...

    def seed(self, seed: int) -> None:
        """Make the following resets depend on this seed alone."""

    def reset(self) -> None:
        """Begin a new episode."""

    def settle(self) -> None:
        """Compute anew what follows from the state, after the model has changed."""

    def observe(self) -> dict[str, NDArray[np.float64]]:
        """What the task itself observes, by name, each flat; nothing where there is no task."""

    def step(self, control: NDArray[np.float64], steps: int, before: Before | None) -> tuple[float, bool]:
        """Hold control (actuators of the model, in order) for some control steps, or until the task has ended.

        Args:
          before: called before physics steps, as it says itself; it may change the control and the forces in `data`.

        Returns the sum of their rewards, and whether the task has ended.
        """

    def render(self, camera: int, height: int, width: int) -> NDArray[np.uint8]:
        """RGB picture [height, width, 3]."""

    def depth(self, camera: int, height: int, width: int) -> NDArray[np.float32]:
        """Distances along the camera's axis, [height, width, 1], m."""


class DmControlWorld(PhysicsWorld):
    """A task of dm_control's suite, without its time limit: when an episode is over is the robot's spec's business."""

    has_task = True

    def __init__(self, name: str, seed: int) -> None:
        suite = load_suite()
        domain, _, task = name.partition("/")
        if (domain, task) not in suite.ALL_TASKS:
            raise SpecError(f"unknown dm_control task {name!r}; known: {', '.join(dm_control_tasks())}")
        self._environment = suite.load(domain, task, task_kwargs={"random": seed, "time_limit": float("inf")})
        super().__init__(self._environment.physics)
        self.control_step = float(self._environment.control_timestep())
        self._physics_steps = round(self.control_step / self._physics.timestep())

    def seed(self, seed: int) -> None:
        self._environment.task.random.seed(seed)

    def observe(self) -> dict[str, NDArray[np.float64]]:
        shown = self._environment.task.get_observation(self._physics)
        return {name: np.array(value, np.float64).reshape(-1) for name, value in shown.items()}

    def reset(self) -> None:
        with whole:
            self._environment.reset()

    def step(self, control: NDArray[np.float64], steps: int, before: Before | None) -> tuple[float, bool]:
        """As dm_control's Environment does it, with a look in between."""
        task, physics, reward = self._environment.task, self._physics, 0.0
        for _ in range(steps):
            with whole:
                task.before_step(control, physics)
                self._advance(self._physics_steps, before)
                task.after_step(physics)
                reward += float(task.get_reward(physics))
                if task.get_termination(physics) == 0:
                    return reward, True
        return reward, False


def _dm_control(rest: str, simulation: Simulation, folder: Path | None, seed: int) -> World:
    for field in ("keyframe", "start", "drives"):
        if getattr(simulation, field):
            raise SpecError(f"simulation.{field}: only a model of one's own takes it; dm_control's tasks have theirs")
    return DmControlWorld(rest, seed)


def _own(kind: str, rest: str, simulation: Simulation, folder: Path | None, seed: int) -> World:
    return OwnModelWorld(model_file(kind, rest, folder), kind, simulation, seed)


KINDS: dict[str, Callable[[str, Simulation, Path | None, int], World]] = {
    "dm_control": _dm_control,
    MJCF: functools.partial(_own, MJCF),
    URDF: functools.partial(_own, URDF),
}


def make_world(simulation: Simulation, folder: Path | None, seed: int) -> World:
    """Build the world `<kind>:<rest>` that `simulation.model` names, for example dm_control:cartpole/swingup.

    Args:
      folder: where the robot's file lies, beside which its models are; None: it did not come from a file.

    Raises:
      SpecError: there is no such world.
    """
    kind, _, rest = simulation.model.partition(":")
    if kind not in KINDS:
        known = ", ".join(f"{k}:…" for k in KINDS)
        raise SpecError(f"unknown kind of simulation model {simulation.model!r}; known: {known}")
    return KINDS[kind](rest, simulation, folder, seed)


def dm_control_tasks() -> list[str]:
    """Known tasks as domain/task."""
    return sorted(f"{domain}/{task}" for domain, task in load_suite().ALL_TASKS)


def load_suite() -> ModuleType:
    """dm_control's suite; see `import_dm_control`."""
    return import_dm_control("suite")
