"""Stamps as the messages in a bag hold them."""

from __future__ import annotations

from typing import Any

from robot_dreamer.data.bags import message_type


def header(stamp: int) -> Any:
    """A std_msgs/Header of a stamp in ns."""
    seconds, rest = divmod(stamp, 1_000_000_000)
    time = message_type("builtin_interfaces/msg/Time")(sec=seconds, nanosec=rest)
    return message_type("std_msgs/msg/Header")(stamp=time, frame_id="")
