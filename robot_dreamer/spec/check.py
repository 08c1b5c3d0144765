"""Checks that the parts of a RobotSpec share. msgspec turns the ValueError into a message with the field's path."""

from __future__ import annotations

import math
import re
from typing import Any

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TOPIC = re.compile(r"(/|~/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*")


class FieldError(ValueError):
    """What is wrong with a field below the struct that checks it.

    Attributes:
      field: its path from there, such as reward.expression.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def require(condition: bool, message: str) -> None:
    """Raise ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def require_name(name: str) -> None:
    """Raise ValueError unless `name` can name a robot, an observation or an action."""
    require(
        _NAME.fullmatch(name) is not None,
        f"name {name!r} must be lower case letters, digits and _, starting with a letter",
    )


def require_topic(topic: str) -> None:
    """Raise ValueError unless ROS 2 takes `topic` as the name of a topic or service."""
    require(bool(topic), "topic must not be empty")
    require(
        _TOPIC.fullmatch(topic) is not None and "__" not in topic,
        f"{topic!r} is no ROS 2 name: letters, digits and _ (never two), joined by /, none starting with a digit",
    )


def require_range(label: str, limits: tuple[float, ...]) -> None:
    """Raise ValueError unless `limits` is empty, or a lowest and a highest number."""
    found = list(limits)
    require(len(limits) in (0, 2), f"{label} needs two numbers, the lowest and the highest, found {found}")
    if limits:
        good = all(map(math.isfinite, limits)) and limits[0] < limits[1]
        require(good, f"{label} must be two finite numbers, the lower one first, found {found}")


def require_finite(value: Any, field: str) -> None:
    """Raise FieldError for a number somewhere in lists and maps that JSON cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise FieldError(field, f"expected a finite number, found {value}")
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        require_finite(entry, f"{field}[{key}]" if isinstance(key, int) else f"{field}.{key}")
