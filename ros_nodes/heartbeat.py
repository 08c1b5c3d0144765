"""The heartbeat: a low level that requires it notices when this node, or its control loop, is gone."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

_RATE = 20.0  # Hz, at most
_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


class Heartbeat:
    """Publishes std_msgs/Bool on ~/heartbeat, by the thread that ticks: another's timer would outlive the loop.

    True: commands come and shall be obeyed. False or silence: the low level must look after itself.
    """

    def __init__(self, node: Node, rate: float) -> None:
        self._node = node
        self._publisher: Any = node.create_publisher(Bool, "~/heartbeat", _QOS)
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

    def destroy(self) -> None:
        self._node.destroy_publisher(self._publisher)
