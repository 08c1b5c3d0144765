"""ROS 2 message types by their names; ROS 2 is imported only when a type is asked for."""

from __future__ import annotations

import importlib
from typing import Any


def message_class(name: str) -> type:
    """The class of a message type such as std_msgs/msg/Float64.

    Raises:
      ValueError: its package is not installed; the message says how to get it.
    """
    package, _, kind = name.partition("/msg/")
    try:
        module = importlib.import_module(f"{package}.msg")
    except ModuleNotFoundError as error:
        apt = f"ros-$ROS_DISTRO-{package.replace('_', '-')}"
        raise ValueError(f"message type {name}: {package} is not installed ({error}); install {apt}") from error
    found: type = getattr(module, kind)
    return found


def new_message(name: str) -> Any:
    """An empty message of a type. Raises as `message_class` does."""
    return message_class(name)()
