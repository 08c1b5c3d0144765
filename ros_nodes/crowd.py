"""Who publishes each sensor, and who offers the reset: one node each. Of two, nobody knows whose word a row holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rclpy.node import Node

from ros_nodes.graph import publishers, servers

_INTERVAL = 0.2  # seconds between two looks
_GONE = 30.0  # seconds until the middleware forgets a node that was killed; a driver started again has the same name


class Crowd:
    """For the thread that spins the node.

    Args:
      topics: of sensors, rewards, terminals; and `/clock` where it is listened to.
      service: of the reset; empty: there is none.
    """

    def __init__(
        self, node: Node, topics: Iterable[str], service: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._node = node
        self._topics = list(topics)
        self._service = service
        self._clock = clock
        self._looked = -_INTERVAL
        self._twins: dict[str, float] = {}  # since when a topic has had several publishers of one name
        self._found: dict[str, str] = {}

    def look(self) -> dict[str, str]:
        """What is wrong, in words, by topic or service; empty if all is well. As of 0.2 s ago at most."""
        now = self._clock()
        if now - self._looked >= _INTERVAL:
            self._looked = now
            judged = {topic: self._judge(topic, now) for topic in self._topics}
            if self._service:
                judged[self._service] = self._judge_service()
            self._found = {name: problem for name, problem in judged.items() if problem}
        return self._found

    def _judge(self, topic: str, now: float) -> str:
        names = [endpoint.node or "a node that is not known yet" for endpoint in publishers(self._node, topic)]
        if len(names) < 2:
            self._twins.pop(topic, None)
            return ""
        different = sorted(set(names))
        if len(different) == 1 and now - self._twins.setdefault(topic, now) < _GONE:
            return ""
        who = ", ".join(different) if len(different) > 1 else f"{len(names)} of the name {different[0]}"
        return f"expected one publisher, found {who}"

    def _judge_service(self) -> str:
        owners = sorted(servers(self._node, self._service))
        return f"expected one node that offers it, found {', '.join(owners)}" if len(owners) > 1 else ""
