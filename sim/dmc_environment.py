"""dm_control's suite as in-process environments, with its own observations, rewards and time limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from dm_control.rl.control import PhysicsError
from numpy.typing import NDArray

from robot_dreamer.environment import EpisodeBroken, TimeStep
from robot_dreamer.spec import SpecError
from sim import synthetic
from sim.worlds import load_suite

_PICTURE = (64, 64, 3)
_CAMERAS = {"quadruped": 2}  # camera 0 of the others shows the whole robot


class DmcEnvironment:
    """See sim.environments.Environment. Terminal is dm_env's discount of 0; the suite's time limit is not."""

    def __init__(self, task: str, seed: int, action_repeat: int, pixels: bool) -> None:
        suite = load_suite()
        names = {f"{domain}_{task_}": (domain, task_) for domain, task_ in suite.ALL_TASKS}
        if task not in names:
            raise SpecError(f"unknown dmc task {task!r}; known: {', '.join(sorted(names))}")
        domain = names[task][0]
        self._environment = suite.load(*names[task], task_kwargs={"random": seed})
        self._camera = _CAMERAS.get(domain, 0)
        self._repeat, self._pixels, self._running = action_repeat, pixels, False

        entries = self._environment.observation_spec().items()
        if pixels:
            observations = [synthetic.picture("image", _PICTURE)]
        else:
            observations = [synthetic.vector(synthetic.clean(k), max(1, math.prod(v.shape))) for k, v in entries]
        bounds = self._environment.action_spec()
        low, high = (np.broadcast_to(x, bounds.shape).tolist() for x in (bounds.minimum, bounds.maximum))
        if np.abs([low, high]).max() >= mujoco.mjMAXVAL:  # dm_control's way to write: no limit
            raise SpecError(f"dmc task {task!r} has infinite action bounds; only finite ones can be normalised")
        control_step = self._environment.control_timestep() * action_repeat
        limit = self._environment._step_limit  # dm_control has no public name for it
        steps = math.ceil(limit / action_repeat) if math.isfinite(limit) else synthetic.NO_TIME_LIMIT
        action = synthetic.continuous("action", low, high)
        self.spec = synthetic.make_spec(f"dmc_{task}", 1.0 / control_step, observations, [action], steps)

    def reset(self) -> TimeStep:
        self._running = True
        timestep = self._environment.reset()
        return TimeStep(self._observe(timestep), 0.0, is_last=False, is_terminal=False)

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> TimeStep:
        if not self._running:
            raise RuntimeError("the episode is over or has not begun: call reset first")
        reward = 0.0
        for _ in range(self._repeat):
            try:
                timestep = self._environment.step(commands["action"])
            except PhysicsError as error:
                self._running = False
                raise EpisodeBroken("diverged", f"the simulation lost itself: {error}") from error
            reward += timestep.reward
            if timestep.last():
                break
        self._running = not timestep.last()
        terminal = bool(timestep.last() and timestep.discount == 0)
        return TimeStep(self._observe(timestep), float(reward), bool(timestep.last()), terminal)

    def close(self) -> None:
        self._environment.close()

    def _observe(self, timestep: Any) -> dict[str, NDArray[Any]]:
        if self._pixels:
            return {"image": self._environment.physics.render(*_PICTURE[:2], camera_id=self._camera)}
        return {synthetic.clean(k): np.array(v, np.float32).reshape(-1) for k, v in timestep.observation.items()}
