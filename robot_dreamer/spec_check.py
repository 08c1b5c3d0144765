"""Checks that the parts of a RobotSpec share. msgspec turns the ValueError into a message with the field's path."""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


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
