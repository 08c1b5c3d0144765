"""Gymnasium environments in-process. Truncation is is_last without is_terminal."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.environment import EnvironmentFailed, EpisodeBroken, TimeStep
from robot_dreamer.spec import SpecError
from sim import synthetic
from sim.gym_actions import Actions
from sim.gym_entries import entries_of
from sim.gym_observations import readers

LARGEST_RATE = 1000.0  # Hz, of a RobotSpec
_OLD = "it looks like the interface before Gymnasium 0.26; wrap it (shimmy), or return {}"
_log = logging.getLogger(__name__)


class GymEnvironment:
    """See robot_dreamer.environment.Environment.

    Observations: see `gym_observations`; a space that is no Dict or Tuple is called `observation`, entries of a Tuple
    are observation_0, …. Actions: see `gym_actions`; `action`, or action_0, … of several choices, or the keys of a
    Dict.

    Raises SpecError for an environment that cannot be made, or that a RobotSpec cannot describe.
    """

    def __init__(self, name: str, seed: int, action_repeat: int) -> None:
        self._name = name
        try:
            self._environment: gymnasium.Env[Any, Any] = gymnasium.make(name)
        except (gymnasium.error.Error, ImportError) as error:
            raise SpecError(f"cannot make gym environment {name!r}: {error}") from error
        except Exception as error:
            raise EnvironmentFailed(f"gym environment {name!r} raised while it was made: {_shown(error)}") from error
        self._seed: int | None = seed  # for the first reset; later ones go on with its random numbers
        self._repeat, self._running, self._steps = action_repeat, False, 0
        taken: set[str] = set()
        self._actions = Actions(self._environment.action_space, name, taken)
        self._readers = readers(entries_of(self._environment.observation_space, "observation", taken), name)
        limit = self._environment.spec.max_episode_steps if self._environment.spec else None
        steps = math.ceil(limit / action_repeat) if limit else synthetic.NO_TIME_LIMIT
        rate = _rate(self._environment, name) / action_repeat
        observations = [reader.spec for reader in self._readers]
        self.spec = synthetic.make_spec(f"gym_{name}", rate, observations, self._actions.specs, steps)

    def reset(self) -> TimeStep:
        found = self._call("reset", lambda: self._environment.reset(seed=self._seed))
        self._seed, self._running, self._steps = None, True, 0
        if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], dict):
            raise self._misfit("reset", "(observation, info)", found)
        return TimeStep(self._observe(found[0]), 0.0, is_last=False, is_terminal=False)

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> TimeStep:
        if not self._running:
            raise RuntimeError("the episode is over or has not begun: call reset first")
        taken = self._actions.value(commands)
        total = 0.0
        for _ in range(self._repeat):
            self._steps += 1
            found = self._call("step", lambda: self._environment.step(taken))
            if not isinstance(found, tuple) or len(found) != 5:
                raise self._misfit("step", "(observation, reward, terminated, truncated, info)", found)
            shown, reward, terminated, truncated, _ = found
            total += self._number(reward)
            if terminated or truncated:
                self._running = False
                break
        return TimeStep(self._observe(shown), total, not self._running, bool(terminated))

    def close(self) -> None:
        self._call("close", self._environment.close)

    def _call(self, method: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            where = f"gym environment {self._name!r} raised in {method}, step {self._steps}"
            raise EnvironmentFailed(f"{where}: {_shown(error)}") from error

    def _misfit(self, method: str, expected: str, found: Any) -> EnvironmentFailed:
        kind = f"a tuple of {len(found)}" if isinstance(found, tuple) else type(found).__name__
        return EnvironmentFailed(f"gym environment {self._name!r}, {method}: expected {expected}, found {kind}: {_OLD}")

    def _observe(self, shown: Any) -> dict[str, NDArray[Any]]:
        try:
            return {reader.spec.name: reader.read(shown) for reader in self._readers}
        except EpisodeBroken as error:
            self._running = False
            raise EpisodeBroken(error.kind, f"{error}, step {self._steps}") from error
        except ValueError as error:
            raise EnvironmentFailed(f"{error}, step {self._steps}") from error

    def _number(self, reward: Any) -> float:
        where = f"gym environment {self._name!r}, reward of step {self._steps}"
        array = np.asarray(reward)
        if array.size != 1 or array.dtype.kind not in "biuf":
            raise EnvironmentFailed(f"{where}: expected one number, found {reward!r}")
        number = float(array.reshape(-1)[0])
        if not math.isfinite(number):
            self._running = False
            raise EpisodeBroken("reward", f"{where}: expected a finite number, found {number}")
        return number


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _rate(environment: gymnasium.Env[Any, Any], name: str) -> float:
    """Steps per second: from the environment's own time step, else its rendering rate, else 1 (board games)."""
    periods = [_positive(getattr(environment.unwrapped, attribute, None)) for attribute in ("dt", "tau")]
    rates = [1.0 / period for period in periods if period]
    rate = rates[0] if rates else _positive(environment.metadata.get("render_fps")) or 1.0
    if rate > LARGEST_RATE:
        _log.info(
            "gym environment %r: %g steps per second are called %g; nothing keeps that time", name, rate, LARGEST_RATE
        )
    return min(rate, LARGEST_RATE)


def _positive(value: Any) -> float:
    """A positive finite number of any numeric type, whose inverse is one too; 0 for everything else."""
    if isinstance(value, bool) or not isinstance(value, Real | np.number):
        return 0.0
    number = float(value)
    return number if number > 0 and math.isfinite(number) and math.isfinite(1.0 / number) else 0.0
