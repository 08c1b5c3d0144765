"""A person takes over: commands on ~/teleop/<action> replace the policy's while they are fresh or it is switched on."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Float64MultiArray

from robot_dreamer.onboard.guard import Commands
from robot_dreamer.spec import RobotSpec

_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # matches reliable publishers too


class TakeOver:
    """Latest command of a person by action, in units. One thread receives and one asks; they exchange references.

    Args:
      timeout: seconds for which a message counts; may be changed at any time.

    Attributes:
      on: switched on: actions without a fresh message get the neutral command instead of the policy's.
      received, refused: messages; those of the wrong length or with numbers that are not finite.
    """

    def __init__(
        self, node: Node, spec: RobotSpec, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.timeout = timeout
        self.on = False
        self.received = 0
        self.refused = 0
        self._node = node
        self._clock = clock
        self._neutral: Commands = {a.name: a.neutral_command() for a in spec.actions}
        self._latest: dict[str, tuple[float, Any]] = {}
        self._inlets = [
            node.create_subscription(Float64MultiArray, f"~/teleop/{name}", partial(self._receive, name), _QOS)
            for name in self._neutral
        ]

    def commands(self) -> Commands | None:
        """The actions that a person commands now; None: nobody does."""
        latest, oldest = self._latest, self._clock() - self.timeout
        fresh = {name: command for name, (received, command) in latest.copy().items() if received >= oldest}
        if self.on:
            return self._neutral | fresh
        return fresh or None

    def destroy(self) -> None:
        for inlet in self._inlets:
            self._node.destroy_subscription(inlet)

    def _receive(self, name: str, message: Float64MultiArray) -> None:
        self.received += 1
        command = np.array(message.data, np.float64)
        size = self._neutral[name].size
        if command.size != size or not np.isfinite(command).all():
            self.refused += 1
            self._node.get_logger().warning(
                f"~/teleop/{name} refused: expected {size} finite numbers, found {command}", throttle_duration_sec=5.0
            )
            return
        self._latest[name] = (self._clock(), command)
