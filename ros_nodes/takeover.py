"""A person takes over: messages on ~/teleop/<command topic> replace the policy's commands while they are fresh."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from robot_dreamer.onboard.command_codec import CommandError, CommandReader
from robot_dreamer.onboard.limits import Commands, Masks
from robot_dreamer.ros_types import message_class
from robot_dreamer.spec import RobotSpec

_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # matches reliable publishers too


class TakeOver:
    """Latest command of a person by action, in units; each topic ages on its own. One thread receives and one asks.

    Args:
      timeout: seconds for which a message counts, and at least for a control period, lest one come between two ticks of
        a slow robot and be heard by none; may be changed at any time.

    Attributes:
      on: switched on: actions without a fresh message go to the neutral command instead of the policy's.
      idle: as of the last `commands`, which numbers of a person's actions have no fresh message.
      topics: type by topic.
      received, refused: messages; those that do not fit the command (length, joints, finite numbers).
    """

    def __init__(
        self, node: Node, spec: RobotSpec, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.timeout, self._period = timeout, spec.period
        self.on = False
        self.idle: Masks = {}
        self.received = 0
        self.refused = 0
        self._node = node
        self._clock = clock
        self._neutral: Commands = {a.name: a.neutral_command() for a in spec.actions}
        self._readers = {action.name: CommandReader(action) for action in spec.actions}
        self.topics: dict[str, str] = {}
        self._subscriptions = []
        for action in spec.actions:
            reader, kind = self._readers[action.name], message_class(action.command.type)
            for topic in action.command.topics:
                receive = partial(self._receive, reader, topic)
                name = f"~/teleop/{topic.lstrip('/~')}"
                self.topics[name] = action.command.type
                self._subscriptions.append(node.create_subscription(kind, name, receive, _QOS))

    def commands(self) -> Commands | None:
        """The actions that a person commands now; None: nobody does."""
        oldest, on = self._clock() - max(self.timeout, self._period), self.on  # once: another thread switches it
        silent = {name: reader.silent(oldest) for name, reader in self._readers.items()}
        asked = ((name, reader.command(since=oldest)) for name, reader in self._readers.items())
        fresh = {name: command for name, command in asked if command is not None}
        theirs = self._neutral if on else fresh
        self.idle = {name: np.array([x in silent[name] for x in self._readers[name].topics]) for name in theirs}
        if on:
            return self._neutral | fresh
        return fresh or None

    def destroy(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _receive(self, reader: CommandReader, topic: str, message: Any) -> None:
        self.received += 1
        try:
            reader.read(topic, message, self._clock())
        except CommandError as error:
            self.refused += 1
            self._node.get_logger().warning(f"~/teleop/{topic} refused: {error}", throttle_duration_sec=5.0)
