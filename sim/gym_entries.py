"""The entries of a Gymnasium space by name, and taking them out of what an environment shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gymnasium import spaces

from sim import synthetic

Getter = Callable[[Any], Any]


@dataclass(frozen=True)
class Entry:
    """A space that is no Dict or Tuple.

    Attributes:
      label: for people: where it is, in the environment's own words.
      name: in the RobotSpec; unique, and the same in every process.
      space: what it holds.
      get: takes its value out of the whole.
    """

    label: str
    name: str
    space: spaces.Space[Any]
    get: Getter


def entries_of(space: spaces.Space[Any], name: str, taken: set[str]) -> list[Entry]:
    """All entries of a space; `taken` are names that others have, and gets those of the entries."""
    leaves = _leaves(space, name, lambda shown: shown)
    return [Entry(label, synthetic.claim(label, taken), part, get) for label, part, get in leaves]


def nest(space: spaces.Space[Any], values: Iterator[Any]) -> Any:
    """The opposite: a value of the space from those of its entries, in their order."""
    if isinstance(space, spaces.Dict):
        return {key: nest(part, values) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(nest(part, values) for part in space.spaces)
    return next(values)


def _leaves(space: spaces.Space[Any], label: str, get: Getter) -> Iterator[tuple[str, spaces.Space[Any], Getter]]:
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        yield label, space, get
        return
    at_top = isinstance(space, spaces.Dict) and label in ("observation", "action")
    parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
    for key, part in parts:
        yield from _leaves(part, str(key) if at_top else f"{label}_{key}", _Item(get, key))


class _Item:
    """Takes one entry out of a Dict's or Tuple's value."""

    def __init__(self, get: Getter, key: Any) -> None:
        self._get, self._key = get, key

    def __call__(self, shown: Any) -> Any:
        return self._get(shown)[self._key]
