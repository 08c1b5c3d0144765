"""The watchdog below a policy node: without a heartbeat its commands are not obeyed."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import Bool


class Watchdog:
    """Listens to the policy node's heartbeat.

    Args:
      timeout: seconds without one that says true; 0: none is required.
    """

    def __init__(self, node: Node, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._clock = clock
        self._until = -1.0  # monotonic seconds
        if timeout:
            node.create_subscription(Bool, "policy/heartbeat", self._receive, 1)

    def obey(self) -> bool:
        """The commands are those of a node that lives and means them."""
        return not self._timeout or self._clock() < self._until

    def _receive(self, message: Bool) -> None:
        self._until = self._clock() + self._timeout if message.data else -1.0
