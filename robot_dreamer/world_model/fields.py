"""Observation and action fields: what the networks need to know of a Gymnasium space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np


@dataclass(frozen=True)
class Field:
    """One entry of a dictionary space."""

    name: str
    kind: Literal["image", "vector", "discrete"]
    shape: tuple[int, ...]
    """Shape of one value: (height, width, channels) of an image, any shape of a vector, () or (n,) of classes."""
    classes: int = 0
    """Number of classes of each entry of a discrete field."""

    @property
    def features(self) -> int:
        """Length of the flat float vector of a value, one-hot where discrete."""
        return math.prod(self.shape) * max(self.classes, 1)


def fields_of(space: gymnasium.spaces.Dict) -> tuple[Field, ...]:
    """The fields of a dictionary space in alphabetical order.

    Raises ValueError that names the field for spaces the networks have no use for.
    """
    return tuple(_field(name, space.spaces[name]) for name in sorted(space.spaces))


def action_fields_of(space: gymnasium.spaces.Dict) -> tuple[Field, ...]:
    """`fields_of` a space of actions. Raises ValueError too for one that is an image, and for none at all."""
    fields = fields_of(space)
    for field in fields:
        if field.kind == "image":
            raise ValueError(f"action {field.name!r}: an action can not be an image")
    if not fields:
        raise ValueError("action space: expected at least one field, found none")
    return fields


def _field(name: str, space: gymnasium.Space[Any]) -> Field:
    spaces = gymnasium.spaces
    if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
        return Field(name, "image", tuple(space.shape))
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return Field(name, "vector", tuple(space.shape))
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return Field(name, "discrete", (), int(space.n))
    if isinstance(space, spaces.MultiBinary):
        return Field(name, "discrete", tuple(space.shape), 2)
    if isinstance(space, spaces.MultiDiscrete) and len(set(space.nvec.flat)) == 1 and not np.any(space.start):
        return Field(name, "discrete", tuple(space.shape), int(space.nvec.flat[0]))
    raise ValueError(
        f"field {name!r}: expected a Box of floats, a uint8 Box of shape (height, width, channels), a Discrete that "
        f"starts at 0, or a MultiDiscrete with equally many classes everywhere (use one Discrete per entry otherwise), "
        f"found {space}"
    )
