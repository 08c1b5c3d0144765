"""Sends commands: the topics of a spec's actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from robot_dreamer.onboard.command_codec import CommandWriter, make_writer
from robot_dreamer.ros_types import message_class, new_message
from robot_dreamer.spec import ActionSpec, RobotSpec

COMMANDS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


class _Line(NamedTuple):
    action: ActionSpec
    writer: CommandWriter
    publishers: list[Any]


class Commander:
    """Publishers of a spec's actions. One thread at a time.

    Attributes:
      sent: sets of commands sent.

    Raises:
      ValueError: two actions share a topic, or the package of a message type is not installed.
    """

    def __init__(self, node: Node, spec: RobotSpec) -> None:
        topics = [topic for action in spec.actions for topic in action.command.topics]
        twice = sorted({t for t in topics if topics.count(t) > 1})
        if twice:
            raise ValueError(f"two actions share the command topic {', '.join(twice)}; join them into one action")
        self.sent = 0
        self._node = node
        self._last = {a.name: a.neutral_command() for a in spec.actions}
        self._lines: list[_Line] = []
        for action in spec.actions:
            kind = message_class(action.command.type)
            publishers: list[Any] = [node.create_publisher(kind, topic, COMMANDS) for topic in action.command.topics]
            writer = make_writer(action.command, action.size, spec.period, new_message)
            self._lines.append(_Line(action, writer, publishers))

    def publish(self, commands: Mapping[str, NDArray[np.float64]], label: str = "") -> None:
        """Send commands in units, by action name. `label`: the stamp that they answer (ns, decimal), in lockstep."""
        self._last = dict(commands)
        self._send(int(label or 0))

    def repeat(self, label: str) -> None:
        """Send the last commands again (neutral ones if there were none)."""
        self._send(int(label or 0))

    def destroy(self) -> None:
        """Give the publishers back."""
        for line in self._lines:
            for publisher in line.publishers:
                self._node.destroy_publisher(publisher)

    def _send(self, answers: int) -> None:
        now = int(self._node.get_clock().now().nanoseconds)
        for action, writer, publishers in self._lines:
            writer.fill(action.command.to_message(self._last[action.name]), answers, now)
            for publisher, message in zip(publishers, writer.messages, strict=True):
                publisher.publish(message)
        self.sent += 1
