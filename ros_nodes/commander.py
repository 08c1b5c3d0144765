"""Sends commands: the topics of a spec's actions. Publishers there claim the robot: they exist while we are active."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from robot_dreamer.onboard.command_codec import CommandWriter, make_writer
from robot_dreamer.ros_types import message_class, new_message
from robot_dreamer.spec import ActionSpec, RobotSpec, require_own_topics
from ros_nodes.distro import PublisherEventCallbacks

COMMANDS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
_ARRIVAL = 0.2  # seconds; a subscriber that was killed answers no more


def claim(node: Node, kind: type, topic: str, qos: QoSProfile) -> Any:
    """A publisher that is gone as soon as it is destroyed, so that whoever looks finds the topic free: without handlers
    of events, which an executor keeps alive until it spins again.
    """
    silent = PublisherEventCallbacks(use_default_callbacks=False)
    return node.create_publisher(kind, topic, qos, event_callbacks=silent)


class _Line(NamedTuple):
    action: ActionSpec
    writer: CommandWriter
    publishers: list[Any]


class Commander:
    """Publishers of a spec's actions, between `open` and `close`. One thread at a time, but for `unheard`.

    Attributes:
      topics: type by topic.
      sent: sets of commands sent.

    Raises:
      SpecError: two actions share a topic.
      ValueError: the package of a message type is not installed.
    """

    def __init__(self, node: Node, spec: RobotSpec) -> None:
        require_own_topics(spec)
        self.sent = 0
        self._node = node
        self.topics = {topic: a.command.type for a in spec.actions for topic in a.command.topics}
        self._last = {a.name: a.neutral_command() for a in spec.actions}
        self._lines: list[_Line] = []
        for action in spec.actions:
            message_class(action.command.type)  # said now, and not when somebody wants to act
            self._lines.append(_Line(action, make_writer(action.command, action.size, spec.period, new_message), []))

    def open(self) -> None:
        """Claim the topics."""
        for action, _, publishers in self._lines:
            kind = message_class(action.command.type)
            publishers += [claim(self._node, kind, topic, COMMANDS) for topic in action.command.topics]

    def unheard(self) -> list[str]:
        """Topics that have no subscriber of their type and QoS, as the middleware knows at this moment."""
        return [
            topic
            for action, _, publishers in self._lines
            for topic, publisher in zip(action.command.topics, publishers, strict=False)
            if not publisher.get_subscription_count()
        ]

    def publish(self, commands: Mapping[str, NDArray[np.float64]], label: str = "") -> None:
        """Send commands in units, by action name. `label`: the stamp that they answer (ns, decimal), in lockstep."""
        self._last = dict(commands)
        self._send(int(label or 0))

    def repeat(self, label: str) -> None:
        """Send the last commands again (neutral ones if there were none)."""
        self._send(int(label or 0))

    def close(self) -> None:
        """Give the topics back, when the last commands have arrived or 0.2 s have passed. Closing twice is harmless."""
        deadline = time.monotonic() + _ARRIVAL  # for all of them: who closes may have a service to answer
        for line in self._lines:
            while line.publishers:
                publisher = line.publishers.pop()
                publisher.wait_for_all_acked(Duration(seconds=max(0.0, deadline - time.monotonic())))
                self._node.destroy_publisher(publisher)

    def _send(self, answers: int) -> None:
        now = int(self._node.get_clock().now().nanoseconds)
        for action, writer, publishers in self._lines:
            writer.fill(action.command.to_message(self._last[action.name]), answers, now)
            for publisher, message in zip(publishers, writer.messages, strict=True):
                publisher.publish(message)
        self.sent += 1
