"""dm_control's suite as in-process environments, with its own observations, rewards and time limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.environment import TimeStep
from sim import dmc_tasks, synthetic
from sim.physics import rendered, whole


class DmcEnvironment:
    """See sim.environments.Environment. Terminal is dm_env's discount of 0; the suite's time limit is not."""

    def __init__(self, task: str, seed: int, action_repeat: int, pixels: bool) -> None:
        self._environment = dmc_tasks.load_task(task, seed)
        self._camera = dmc_tasks.camera(task)
        self._repeat, self._pixels, self._running = action_repeat, pixels, False

        entries = self._environment.observation_spec().items()
        if pixels:
            observations = [synthetic.picture("image", dmc_tasks.PICTURE)]
        else:
            observations = [synthetic.vector(synthetic.clean(k), max(1, math.prod(v.shape))) for k, v in entries]
        low, high = dmc_tasks.limits(self._environment, task)
        control_step = self._environment.control_timestep() * action_repeat
        steps = dmc_tasks.most_steps(self._environment, action_repeat)
        action = synthetic.continuous("action", low, high)
        self.spec = synthetic.make_spec(f"dmc_{task}", 1.0 / control_step, observations, [action], steps)

    def reset(self) -> TimeStep:
        self._running = False  # where it breaks
        with whole:
            timestep = self._environment.reset()
        self._running = True
        return TimeStep(self._observe(timestep), 0.0, is_last=False, is_terminal=False)

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> TimeStep:
        if not self._running:
            raise RuntimeError("the episode is over or has not begun: call reset first")
        self._running, reward = False, 0.0
        for _ in range(self._repeat):
            with whole:
                timestep = self._environment.step(commands["action"])
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
            return {"image": rendered(self._environment.physics, *dmc_tasks.PICTURE[:2], camera_id=self._camera)}
        return {synthetic.clean(k): np.array(v, np.float32).reshape(-1) for k, v in timestep.observation.items()}
