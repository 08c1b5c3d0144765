"""Commands as a Gymnasium environment takes them: by entry, within bounds, in its dtype; what is fixed is filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_dreamer.spec import ActionSpec, SpecError
from sim import synthetic
from sim.gym_entries import Entry, entries_of, nest

UNLIMITED = 1e18  # bounds from here on are how somebody wrote that there are none
LARGEST_CHOICE = 4096
_Commands = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class _Part:
    """One entry: the actions that it becomes, and its value from their commands."""

    actions: Sequence[ActionSpec]
    value: Callable[[_Commands], Any]


class Actions:
    """The actions of an environment.

    Raises SpecError that names environment and action for what can not be learned: no bounds, nothing to choose.

    Attributes:
      specs: what is learned.
    """

    def __init__(self, space: spaces.Space[Any], environment: str, taken: set[str]) -> None:
        self._space = space
        self._parts = [
            _part(entry, f"gym environment {environment!r}, action {entry.label!r}", taken)
            for entry in entries_of(space, "action", set())
        ]
        self.specs = [action for part in self._parts for action in part.actions]
        if not self.specs:
            raise SpecError(f"gym environment {environment!r}: its actions leave nothing to choose: {space}")

    def value(self, commands: _Commands) -> Any:
        """What `step` of the environment takes."""
        values: Iterator[Any] = (part.value(commands) for part in self._parts)
        return nest(self._space, values)


def _part(entry: Entry, where: str, taken: set[str]) -> _Part:
    space = entry.space
    if isinstance(space, spaces.Discrete):
        choose = _choices(entry.name, where, np.array([int(space.n)]), np.array([int(space.start)]), taken)
        return _Part(choose.actions, lambda commands: int(choose.value(commands)[0]))
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        shape, dtype = space.shape, space.dtype
        classes = space.nvec if isinstance(space, spaces.MultiDiscrete) else np.full(shape, 2)
        start = space.start if isinstance(space, spaces.MultiDiscrete) else np.zeros(shape, int)
        choose = _choices(f"{entry.name}_", where, classes.reshape(-1), start.reshape(-1), taken)
        return _Part(choose.actions, lambda commands: choose.value(commands).reshape(shape).astype(dtype))
    if isinstance(space, spaces.Box):
        return _numbers(entry, space, where, taken)
    raise SpecError(f"{where}: actions of type {type(space).__name__} are not supported")


def _choices(name: str, where: str, classes: NDArray[Any], start: NDArray[Any], taken: set[str]) -> _Part:
    """Choices; one of a single value is filled in. A name that ends in _ gets a number for each."""
    if classes.size and classes.max() > LARGEST_CHOICE:
        raise SpecError(f"{where}: a choice of {classes.max()}, at most {LARGEST_CHOICE} can be learned")
    named: list[tuple[int, str]] = []
    actions = []
    for i, (count, first) in enumerate(zip(classes, start, strict=True)):
        if count > 1:
            own = synthetic.claim(f"{name}{i}" if name.endswith("_") else name, taken)
            named.append((i, own))
            actions.append(synthetic.discrete(own, int(count), int(first)))

    def value(commands: _Commands) -> NDArray[np.int64]:
        chosen = start.astype(np.int64)
        for i, own in named:
            chosen[i] = round(float(commands[own][0]))
        return chosen

    return _Part(actions, value)


def _numbers(entry: Entry, space: spaces.Box, where: str, taken: set[str]) -> _Part:
    """Numbers between bounds. Of whole ones each gets an equal share of [-1, 1]."""
    whole = np.issubdtype(space.dtype, np.integer)
    low, high = (x.reshape(-1).astype(np.float64) for x in (space.low, space.high))
    free = low < high
    if not (np.abs([low, high]) < UNLIMITED).all():
        raise SpecError(
            f"{where}: bounds {low.tolist()} to {high.tolist()} are not finite, or so wide that they mean none, so the "
            "action cannot be normalised; wrap the environment with true ones (gymnasium.wrappers.RescaleAction)"
        )
    if not free.any():
        return _Part([], lambda commands: space.low.copy())
    own = synthetic.claim(entry.name, taken)
    half = 0.5 if whole else 0.0
    action = synthetic.continuous(own, (low[free] - half).tolist(), (high[free] + half).tolist())

    def value(commands: _Commands) -> NDArray[Any]:
        numbers = low.copy()
        numbers[free] = np.floor(commands[own] + half) if whole else commands[own]
        # Rounded to the environment's own type, a bound can be passed by the last bit.
        return np.clip(np.clip(numbers, low, high).astype(space.dtype).reshape(space.shape), space.low, space.high)

    return _Part([action], value)
