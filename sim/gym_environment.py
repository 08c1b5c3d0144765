"""Gymnasium environments in-process. Truncation is is_last without is_terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_dreamer.environment import TimeStep
from robot_dreamer.spec import ActionSpec, ObservationSpec, SpecError
from sim import synthetic

_Encoder = Callable[[Any], NDArray[Any]]  # what the environment shows -> the observation's array
_Decoder = Callable[
    [list[NDArray[np.float64]]], Any
]  # commands, in the order of the actions -> what the environment takes


class GymEnvironment:
    """See sim.environments.Environment.

    Observations: a space that is no Dict or Tuple is called `observation`; entries of a Tuple are observation_0, ….
    uint8 pictures [height, width, 1 or 3] stay pictures; Discrete and MultiDiscrete become one-hot; everything else is
    flattened to float32. Actions: `action`, or action_0, … for a space of several choices.
    """

    def __init__(self, name: str, seed: int, action_repeat: int) -> None:
        try:
            self._environment: gymnasium.Env[Any, Any] = gymnasium.make(name)
        except (gymnasium.error.Error, ImportError) as error:
            raise SpecError(f"cannot make gym environment {name!r}: {error}") from error
        self._seed: int | None = seed  # for the first reset; later ones go on with its random numbers
        self._repeat, self._running = action_repeat, False
        observations: list[ObservationSpec] = []
        self._encoders: list[tuple[str, _Encoder]] = []
        for spec, encode in _observations(self._environment.observation_space, "observation", lambda shown: shown):
            observations.append(spec)
            self._encoders.append((spec.name, encode))
        actions, self._decode = _actions(self._environment.action_space, name)
        limit = self._environment.spec.max_episode_steps if self._environment.spec else None
        steps = math.ceil(limit / action_repeat) if limit else synthetic.NO_TIME_LIMIT
        rate = _rate(self._environment) / action_repeat
        self.spec = synthetic.make_spec(f"gym_{name}", rate, observations, actions, steps)

    def reset(self) -> TimeStep:
        shown, _ = self._environment.reset(seed=self._seed)
        self._seed, self._running = None, True
        return TimeStep(self._observe(shown), 0.0, is_last=False, is_terminal=False)

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> TimeStep:
        if not self._running:
            raise RuntimeError("the episode is over or has not begun: call reset first")
        taken = self._decode([commands[a.name] for a in self.spec.actions])
        total = 0.0
        for _ in range(self._repeat):
            shown, reward, terminated, truncated, _ = self._environment.step(taken)
            total += float(reward)
            if terminated or truncated:
                self._running = False
                break
        return TimeStep(self._observe(shown), total, not self._running, bool(terminated))

    def close(self) -> None:
        self._environment.close()

    def _observe(self, shown: Any) -> dict[str, NDArray[Any]]:
        return {name: encode(shown) for name, encode in self._encoders}


def _observations(
    space: spaces.Space[Any], name: str, get: Callable[[Any], Any]
) -> list[tuple[ObservationSpec, _Encoder]]:
    """Specs and encoders of a space; `get` takes the value of this space out of what the environment shows."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        at_top = isinstance(space, spaces.Dict) and name == "observation"
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        found = []
        for key, part in parts:
            found += _observations(part, str(key) if at_top else f"{name}_{key}", _Item(get, key))
        return found
    name = synthetic.clean(name)
    if isinstance(space, spaces.Discrete):
        return [_one_hot(name, np.array([space.n]), np.array([space.start]), get)]
    if isinstance(space, spaces.MultiDiscrete):
        return [_one_hot(name, space.nvec.reshape(-1), space.start.reshape(-1), get)]
    if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3 and space.shape[2] in (1, 3):
        return [(synthetic.picture(name, space.shape), lambda shown: np.asarray(get(shown), np.uint8))]
    if isinstance(space, (spaces.Box, spaces.MultiBinary)):
        size = max(1, math.prod(space.shape))
        return [(synthetic.vector(name, size), lambda shown: np.asarray(get(shown), np.float32).reshape(-1))]
    raise SpecError(f"gym observation {name!r}: spaces of type {type(space).__name__} are not supported")


class _Item:
    """Takes one entry out of a Dict's or Tuple's value."""

    def __init__(self, get: Callable[[Any], Any], key: Any) -> None:
        self._get, self._key = get, key

    def __call__(self, shown: Any) -> Any:
        return self._get(shown)[self._key]


def _one_hot(
    name: str, classes: NDArray[Any], start: NDArray[Any], get: Callable[[Any], Any]
) -> tuple[ObservationSpec, _Encoder]:
    """Choices side by side, each one-hot."""
    offsets = np.concatenate([[0], np.cumsum(classes)[:-1]]) - start
    size = int(classes.sum())

    def encode(shown: Any) -> NDArray[np.float32]:
        encoded = np.zeros(size, np.float32)
        encoded[np.asarray(get(shown)).reshape(-1) + offsets] = 1.0
        return encoded

    return synthetic.vector(name, size), encode


def _actions(space: spaces.Space[Any], environment: str) -> tuple[list[ActionSpec], _Decoder]:
    if isinstance(space, spaces.Discrete):
        return [synthetic.discrete("action", int(space.n), int(space.start))], lambda commands: int(commands[0][0])
    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        shape, dtype = space.shape, space.dtype
        classes = space.nvec if isinstance(space, spaces.MultiDiscrete) else np.full(shape, 2)
        start = space.start if isinstance(space, spaces.MultiDiscrete) else np.zeros(shape)
        pairs = zip(classes.reshape(-1), start.reshape(-1), strict=True)
        actions = [synthetic.discrete(f"action_{i}", int(n), int(first)) for i, (n, first) in enumerate(pairs)]
        return actions, lambda commands: np.concatenate(commands).reshape(shape).astype(dtype)
    if isinstance(space, spaces.Box):
        shape, dtype = space.shape, space.dtype
        low, high = space.low.reshape(-1).tolist(), space.high.reshape(-1).tolist()
        if not np.isfinite([low, high]).all():
            raise SpecError(
                f"gym environment {environment!r}: action bounds {low} to {high} are not finite, so the action cannot "
                "be normalised; wrap the environment with finite ones"
            )
        return [synthetic.continuous("action", low, high)], lambda commands: commands[0].reshape(shape).astype(dtype)
    raise SpecError(f"gym environment {environment!r}: actions of type {type(space).__name__} are not supported")


def _rate(environment: gymnasium.Env[Any, Any]) -> float:
    """Steps per second: from the environment's own time step, else its rendering rate, else 1 (board games)."""
    for name in ("dt", "tau"):
        period = getattr(environment.unwrapped, name, None)
        if isinstance(period, (int, float)) and period > 0:
            return 1.0 / period
    return float(environment.metadata.get("render_fps") or 1.0)
