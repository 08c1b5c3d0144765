"""dm_control's suite by names such as walker_walk, for environments and for robots."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np

from robot_dreamer.spec import SpecError
from sim import synthetic
from sim.worlds import load_suite

PICTURE = (64, 64, 3)
_CAMERAS = {"quadruped": 2}  # camera 0 of the others shows the whole robot


def find_task(name: str) -> tuple[str, str]:
    """(domain, task) of `<domain>_<task>`. Raises SpecError with the known ones."""
    names = {f"{domain}_{task}": (domain, task) for domain, task in load_suite().ALL_TASKS}
    if name not in names:
        raise SpecError(f"unknown dmc task {name!r}; known: {', '.join(sorted(names))}")
    return names[name]


def load_task(name: str, seed: int) -> Any:
    """dm_control's environment of `<domain>_<task>`. Raises SpecError if there is none."""
    return load_suite().load(*find_task(name), task_kwargs={"random": seed})


def camera(name: str) -> int:
    """The camera that shows a task."""
    return _CAMERAS.get(find_task(name)[0], 0)


def limits(environment: Any, name: str) -> tuple[list[float], list[float]]:
    """Lowest and highest command of each actuator. Raises SpecError where any command is allowed."""
    bounds = environment.action_spec()
    low, high = (np.broadcast_to(x, bounds.shape).tolist() for x in (bounds.minimum, bounds.maximum))
    if np.abs([low, high]).max() >= mujoco.mjMAXVAL:  # dm_control's way to write: no limit
        raise SpecError(f"dmc task {name!r} has infinite action bounds; only finite ones can be normalised")
    return low, high


def most_steps(environment: Any, repeat: int) -> int:
    """Actions of an episode, each held for `repeat` control steps, until the suite's time limit."""
    limit = environment._step_limit  # dm_control has no public name for it
    return math.ceil(limit / repeat) if math.isfinite(limit) else synthetic.NO_TIME_LIMIT
