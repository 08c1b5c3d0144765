"""Crafter (package crafter) in-process: survival in an open world, from 64x64 pictures."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.environment import TimeStep
from robot_dreamer.spec import SpecError
from sim import synthetic

_SIDE = 64
_STEPS = 10_000


class CrafterEnvironment:
    """See sim.environments.Environment. Terminal is death; the limit of 10000 steps is not.

    `task`: `reward` (for achievements and health) or `noreward`.
    """

    def __init__(self, task: str, seed: int, action_repeat: int) -> None:
        if task not in ("reward", "noreward"):
            raise SpecError(f"unknown crafter task {task!r}; known: reward, noreward")
        try:
            import crafter
        except ImportError as error:
            raise SpecError(f'crafter is missing: pip install "robot_dreamer[crafter]" ({error})') from error
        self._world = crafter.Env(size=(_SIDE, _SIDE), reward=task == "reward", length=_STEPS, seed=seed)
        _keep_order(self._world._world)
        self._repeat, self._running = action_repeat, False
        picture = synthetic.picture("image", (_SIDE, _SIDE, 3))
        action = synthetic.discrete("action", int(self._world.action_space.n))
        steps = math.ceil(_STEPS / action_repeat)
        self.spec = synthetic.make_spec(f"crafter_{task}", 1.0 / action_repeat, [picture], [action], steps)

    def reset(self) -> TimeStep:
        self._running = True
        return TimeStep(_picture(self._world.reset()), 0.0, is_last=False, is_terminal=False)

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> TimeStep:
        if not self._running:
            raise RuntimeError("the episode is over or has not begun: call reset first")
        total = 0.0
        for _ in range(self._repeat):
            shown, reward, over, about = self._world.step(int(commands["action"][0]))
            total += float(reward)
            if over:
                self._running = False
                break
        return TimeStep(_picture(shown), total, not self._running, about["discount"] == 0)

    def close(self) -> None:
        """Nothing is open."""


class _InOrder(dict[Any, None]):
    """A set that is gone through in the order in which it was filled."""

    def add(self, entry: Any) -> None:
        self[entry] = None

    def remove(self, entry: Any) -> None:
        del self[entry]


def _keep_order(world: Any) -> None:
    """Make one seed give one world: crafter goes through sets of objects, whose order is that of their addresses."""
    reset = world.reset

    def reset_in_order(seed: int | None = None) -> None:
        reset(seed)
        world._chunks = collections.defaultdict(_InOrder)

    world.reset = reset_in_order


def _picture(shown: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {"image": np.array(shown, np.uint8)}
