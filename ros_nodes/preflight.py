"""Listens to a robot for a while and says what is wrong with it. It publishes nothing and calls nothing that moves.

What others believe of the graph changes as little as can be: a command topic is listened to only where somebody else
listens already, so that no policy node takes this one for the robot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from robot_dreamer.preflight.evidence import Evidence
from robot_dreamer.preflight.findings import Finding, stop
from robot_dreamer.preflight.judge import findings_of
from robot_dreamer.ros_types import message_class
from robot_dreamer.spec import RobotSpec
from ros_nodes.commander import COMMANDS
from ros_nodes.controllers import Controllers
from ros_nodes.graph import deafness
from ros_nodes.inlets import LATCHED, news
from ros_nodes.own_node import own_node
from ros_nodes.preflight_graph import graph_findings

_ALL = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
_DISCOVERY = 1.0  # seconds until those who run already are known


class Preflight:
    """Listens through a node that somebody else spins.

    Args:
      spec: what the robot should be.

    Raises:
      ValueError: a message type is not installed.
    """

    def __init__(self, node: Node, spec: RobotSpec) -> None:
        self.evidence = Evidence(spec)
        self.controllers = Controllers(node, spec)
        self._node, self._spec = node, spec
        self._simulated = bool(node.get_parameter("use_sim_time").value)
        self._unread: dict[str, str] = {}
        for topic, stream in self.evidence.streams.items():
            kind = message_class(stream.kind)
            if stream.source is not None:
                for qos in (_ALL, LATCHED) if stream.source.hold else (_ALL,):
                    hear = partial(self._hear, topic)
                    node.create_subscription(kind, topic, hear, qos, event_callbacks=news(qos))

    def acquainted(self) -> None:
        """Call it when nodes have been discovered: asks controllers what they are, and listens to commands."""
        self.controllers.ask()
        for action in self._spec.actions:
            for topic in action.command.topics:
                if not deafness(self._node, topic, action.command.type, COMMANDS):
                    kind = message_class(action.command.type)
                    self._node.create_subscription(kind, topic, partial(self._hear, topic), _ALL)

    def findings(self, seconds: float) -> Iterator[Finding]:
        """What is wrong; seconds: for how long it was listened."""
        told: set[str] = set()
        yield from graph_findings(self._node, self._spec, told)
        yield from self.controllers.findings()
        for topic, problem in self._unread.items():
            yield stop(f"topic {topic}", problem, "mend the driver")
        yield from findings_of(self.evidence, seconds, told)

    def _hear(self, topic: str, message: Any, info: Any) -> None:
        """When it came is what the middleware says (0: it does not): here it has waited for those before it. In a
        simulation's time only our own clock can tell.
        """
        received = 0 if self._simulated else int(info["received_timestamp"])
        try:
            self.evidence.hear(topic, message, received or int(self._node.get_clock().now().nanoseconds))
        except Exception as error:  # of a message that nobody thought of: said, and the others are still heard
            self._unread[topic] = f"a message of it cannot be used ({error!r:.200})"


def listen(
    spec: RobotSpec, seconds: float, namespace: str, sim_time: bool, clock: Callable[[], float] = time.monotonic
) -> list[Finding]:
    """Listen in a node of our own. Raises ValueError for a message type that is not installed."""
    with own_node("preflight", namespace, sim_time) as (node, executor):
        preflight = Preflight(node, spec)
        begun, known = clock(), False
        while (elapsed := clock() - begun) < seconds:
            executor.spin_once(timeout_sec=0.05)
            if not known and elapsed > min(_DISCOVERY, seconds / 2):
                known = True
                preflight.acquainted()
        return list(preflight.findings(seconds))
