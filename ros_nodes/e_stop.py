"""The emergency stop's topic and how it is heard: at any moment of a node's life, whatever else it does.

In software it does not replace one in hardware.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Bool

from robot_dreamer.onboard.buttons import Buttons
from robot_dreamer.onboard.guard import Fault
from ros_nodes.companion import Companion
from ros_nodes.graph import mismatch, publishers

TOPIC, KIND = "e_stop", "std_msgs/msg/Bool"
_LOOK = 0.05  # seconds between two looks at the graph
_ACQUAINTED = 0.3  # seconds after which those who were there before are discovered, as a rule


class EStop:
    """Listens to std_msgs/Bool on `e_stop`: true is pressed. Publishers may be latched, reliable or best effort.

    Args:
      timeout: see Buttons.

    Attributes:
      buttons: who has said what.
      companion: serves what must be heard at any moment.
    """

    def __init__(self, node: Node, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.buttons = Buttons(timeout, clock)
        self._since = time.monotonic()
        self._topic = node.resolve_topic_name(TOPIC)
        self.companion = Companion(node, "e_stop", self._failed)
        self.companion.hear(Bool, TOPIC, self._receive)
        self.companion.repeat(_LOOK, self._look)

    @property
    def pressed(self) -> bool:
        """The last word of any button is true."""
        return self.buttons.pressed

    def clear(self) -> Fault | None:
        """See Buttons.clear."""
        return self.buttons.clear()

    def require_type(self) -> None:
        """Refuse buttons that are there and cannot be heard; those that come later latch.

        Raises:
          ValueError: names topic, expected and found type.
        """
        time.sleep(max(0.0, self._since + _ACQUAINTED - time.monotonic()))
        wrong = mismatch(self._topic, KIND, publishers(self.companion.node, self._topic))
        if wrong:
            raise ValueError(f"the emergency stop cannot be heard: {wrong}; mend the button or remap the topic")

    def destroy(self) -> None:
        self.companion.destroy()

    def _receive(self, source: bytes | None, stamp: int, message: Any) -> None:
        self.buttons.hear(source, stamp, bool(message.data))

    def _look(self) -> None:
        found = publishers(self.companion.node, self._topic)
        wrong = mismatch(self._topic, KIND, found)
        foreign = f"the emergency stop cannot be heard: {wrong}" if wrong else ""
        self.buttons.look({x.gid: x.node for x in found if x.kind == KIND}, foreign)

    def _failed(self, words: str) -> None:
        self.companion.node.get_logger().fatal(words)
        self.buttons.press(f"what listens to the emergency stop failed: {words.strip().splitlines()[-1]}")
