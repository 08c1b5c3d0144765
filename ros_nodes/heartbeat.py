"""The heartbeat: a low level that requires it notices when this node, or its control loop, is gone."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

from ros_nodes.commander import claim

_RATE = 20.0  # Hz, at most
TOPIC, KIND = "~/heartbeat", "std_msgs/msg/Bool"
QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


class Heartbeat:
    """Publishes std_msgs/Bool on ~/heartbeat, by the thread that ticks: another's timer would outlive the loop.

    True: commands come and shall be obeyed. False or silence: the low level must look after itself.

    Args:
      required: the low level relies on it: as long as nobody listens, nobody shall drive.
    """

    def __init__(self, node: Node, rate: float, required: bool = False) -> None:
        self._node = node
        self._required = required
        self._publisher: Any = None
        self._every = max(1, round(rate / _RATE))
        self._message = Bool()
        self._left = 0  # ticks until the next one

    def beat(self, alive: bool) -> None:
        """Call it once per tick; a change goes out at once."""
        self._left -= 1
        if self._left > 0 and alive == self._message.data:
            return
        self._left = self._every
        self._message.data = alive
        self._publisher.publish(self._message)

    def open(self) -> None:
        """Claim the topic."""
        self._left = 0
        self._publisher = claim(self._node, Bool, TOPIC, QOS)

    def unheard(self) -> list[str]:
        """The topic, if it is required and has no subscriber of its type and QoS."""
        silent = self._required and self._publisher is not None and not self._publisher.get_subscription_count()
        return [TOPIC] if silent else []

    def close(self) -> None:
        """Give the topic back. Closing twice is harmless."""
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
            self._publisher = None
