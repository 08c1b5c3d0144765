"""The emergency stop's topic: pressed means a fault, and while it is pressed nobody can clear it.

In software it does not replace one in hardware.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

from robot_dreamer.onboard.guard import Guard
from ros_nodes.distro import SubscriptionEventCallbacks


class EStop:
    """Listens to std_msgs/Bool on `e_stop`: true is pressed.

    A publisher may be latched (transient local) or not; no single subscription gets a latched message and matches
    both, so there are two, and a message may come twice. That one of them does not match is no news (rclpy would warn).

    Args:
      timeout: seconds of silence on the topic that count as pressed, as does that it has not spoken yet; 0: it may be
        silent.

    Attributes:
      pressed: as of the last message.
    """

    def __init__(self, node: Node, guard: Guard, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.pressed = False
        self._node = node
        self._guard = guard
        self._timeout = timeout
        self._clock = clock
        self._heard: float | None = None
        self._inlets = [
            node.create_subscription(
                Bool,
                "e_stop",
                self._receive,
                QoSProfile(depth=1, reliability=reliability, durability=durability),
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            )
            for reliability, durability in (
                (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE),
                (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL),
            )
        ]

    def poll(self) -> None:
        """Call it often: notices silence."""
        problem = self.problem()
        if problem:
            self._guard.latch("e_stop", problem)

    def problem(self) -> str:
        """Why a fault must not be cleared; empty if it may."""
        if self.pressed:
            return "the emergency stop is pressed (topic e_stop)"
        if not self._timeout:
            return ""
        if self._heard is None:
            return "topic e_stop has not spoken yet"
        silent = self._clock() - self._heard
        if silent <= self._timeout:
            return ""
        return f"topic e_stop is silent for {silent:.1f} s, allowed {self._timeout:g} s"

    def destroy(self) -> None:
        for inlet in self._inlets:
            self._node.destroy_subscription(inlet)

    def _receive(self, message: Bool) -> None:
        self._heard = self._clock()
        self.pressed = bool(message.data)
        if self.pressed:
            self.poll()
