"""Made-up Gymnasium environments that show what a test tells them to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.envs.registration import register

from robot_dreamer.environment import Environment

ID = "robot_dreamer_tests/Told-v0"
Show = Callable[[int], Any]


class Told(gymnasium.Env[Any, Any]):
    """`show(i)` and `pay(i)` give what step i shows and pays; step 0 is the reset. `taken`: all actions."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any], show: Show, pay: Show) -> None:
        self.observation_space, self.action_space, self._show, self._pay = observation, action, show, pay
        self.taken: list[Any] = []
        self.metadata = {"render_fps": 10}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._step = 0
        return self._show(0), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.taken.append(action)
        self._step += 1
        return self._show(self._step), self._pay(self._step), False, self._step >= 30, {}


register(ID, lambda **kw: Told(**kw), disable_env_checker=True)


def told(
    observation: spaces.Space[Any],
    action: spaces.Space[Any] | None = None,
    show: Show | None = None,
    pay: Show = lambda step: 1.0,
) -> tuple[Environment, Told]:
    """Our adapter of it, and itself; without `show` it shows samples of its space."""
    from sim.environments import make_environment

    observation.seed(0)
    kwargs = {
        "observation": observation,
        "action": spaces.Discrete(2) if action is None else action,
        "show": show or (lambda step: observation.sample()),
        "pay": pay,
    }
    gymnasium.registry[ID].kwargs = kwargs
    environment = make_environment(f"gym:{ID}", seed=0)
    return environment, environment._environment.unwrapped  # type: ignore[attr-defined]


def commands(environment: Environment, action: float = 0.0) -> dict[str, Any]:
    """A command of each action: `action` in [-1, 1], or that share of the classes."""
    import numpy as np

    found = {}
    for a in environment.spec.actions:
        share = round((action + 1) / 2 * (len(a.values) - 1)) if a.discrete else np.full(a.shape, action)
        found[a.name] = a.to_command(np.asarray(share))
    return found
