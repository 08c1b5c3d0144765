"""Stamps as the messages in a bag hold them."""

from __future__ import annotations

from typing import Any

from robot_dreamer.data.bags import message_type


def header(stamp: int) -> Any:
    """A std_msgs/Header of a stamp in ns."""
    return message_type("std_msgs/msg/Header")(stamp=_split("builtin_interfaces/msg/Time", stamp), frame_id="")


def duration(nanoseconds: int) -> Any:
    """A builtin_interfaces/Duration."""
    return _split("builtin_interfaces/msg/Duration", nanoseconds)


def _split(kind: str, nanoseconds: int) -> Any:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return message_type(kind)(sec=seconds, nanosec=rest)
