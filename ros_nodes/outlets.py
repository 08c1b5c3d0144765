"""What the ROS graph says of where a robot is commanded: who gets the commands, and who gives others."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from rclpy.node import Node

from ros_nodes.commander import COMMANDS
from ros_nodes.graph import deafness, mismatch, publishers, subscriptions

_INTERVAL = 0.2  # seconds between two looks


class Outlets:
    """For the thread that spins the node. Our own publishers, one a topic, exist while the node is active.

    Args:
      outlets: of commands and heartbeat, type by topic.
      teleop: of a person's commands, type by topic.
    """

    def __init__(
        self,
        node: Node,
        outlets: Mapping[str, str],
        teleop: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._us = node.get_fully_qualified_name()
        self._outlets = dict(outlets)
        self._teleop = dict(teleop)
        self._clock = clock
        self._looked = -_INTERVAL
        self._rivals = ""

    def require_free(self) -> None:
        """Refuse to be the second one.

        Raises:
          ValueError: somebody publishes commands already; names topic and node.
        """
        problem = self._find_rivals(ours=0)
        if problem:
            raise ValueError(f"{problem}; end that one, or give this robot's topics another namespace")

    def rivals(self) -> str:
        """Who else publishes commands or the heartbeat while we do, in words; empty if nobody. Of 0.2 s ago at most."""
        now = self._clock()
        if now - self._looked >= _INTERVAL:
            self._looked, self._rivals = now, self._find_rivals(ours=1)
        return self._rivals

    def deaf(self, topics: list[str]) -> list[str]:
        """Why nobody gets what we publish on some of the topics, in words."""
        return [text for t in topics if (text := deafness(self._node, t, self._outlets[t], COMMANDS))]

    def mistaken(self) -> list[str]:
        """Who listens to our outlets, or publishes a person's commands, with another type: neither side is told."""
        resolve = self._node.resolve_topic_name
        found = [mismatch(resolve(t), kind, subscriptions(self._node, resolve(t))) for t, kind in self._outlets.items()]
        found += [mismatch(resolve(t), kind, publishers(self._node, resolve(t))) for t, kind in self._teleop.items()]
        return [text for text in found if text]

    def _find_rivals(self, ours: int) -> str:
        problems = []
        for topic in self._outlets:
            name = self._node.resolve_topic_name(topic)
            nodes = [x.node or "a node that is not known yet" for x in publishers(self._node, name)]
            if len(nodes) <= ours:
                continue
            if ours and self._us in nodes:
                nodes.remove(self._us)
            who = ", ".join(f"another node named {x}" if x == self._us else x for x in sorted(set(nodes)))
            problems.append(f"{name} (expected this node alone, found {who})")
        return f"another node commands this robot: {', '.join(problems)}" if problems else ""
