"""What the ROS graph knows about the topics that a robot needs."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from rclpy.duration import Duration
from rclpy.node import Node, NodeNameNonExistentError
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

_PATIENCE = 1.0  # seconds in which publishers that run already are discovered
_POLL = 0.02
_INFINITE = Duration(nanoseconds=(1 << 63) - 1)  # as the middleware says it
_UNKNOWN = "_NODE_NAME_UNKNOWN_"  # what the middleware calls it


class Endpoint(NamedTuple):
    """A publisher or a subscription, of any node.

    Attributes:
      gid: identity; that of the messages where the middleware tells it.
      node: name with namespace; empty while only the endpoint has been discovered, not its node.
      kind: type of its messages.
    """

    gid: bytes
    node: str
    kind: str
    qos: Any


def publishers(node: Node, topic: str) -> list[Endpoint]:
    """All publishers of a topic, our own too."""
    return [_endpoint(info) for info in node.get_publishers_info_by_topic(topic)]


def subscriptions(node: Node, topic: str) -> list[Endpoint]:
    """All subscriptions of a topic, our own too."""
    return [_endpoint(info) for info in node.get_subscriptions_info_by_topic(topic)]


def servers(node: Node, service: str) -> dict[str, list[str]]:
    """Who offers a service: types by node. The graph's own list of services names those who only ask, too."""
    name = node.resolve_service_name(service)
    found = {}
    for owner, space in node.get_node_names_and_namespaces():
        try:
            offered = dict(node.get_service_names_and_types_by_node(owner, space))
        except NodeNameNonExistentError:  # it has gone meanwhile
            continue
        if name in offered:
            found[f"{space.rstrip('/')}/{owner}"] = offered[name]
    return found


def mismatch(topic: str, kind: str, found: list[Endpoint]) -> str:
    """Endpoints of another type than `kind`, in words; empty if there are none."""
    wrong = sorted({f"{x.kind} (node {x.node or 'unknown'})" for x in found if x.kind != kind})
    return f"topic {topic}: expected {kind}, found {', '.join(wrong)}" if wrong else ""


def deafness(node: Node, topic: str, kind: str, qos: QoSProfile) -> str:
    """Why nobody else gets what is published on a topic with this type and QoS; empty if somebody does."""
    name, mine = node.resolve_topic_name(topic), node.get_fully_qualified_name()
    found = [x for x in subscriptions(node, name) if x.node != mine]
    if not found:
        return f"nobody subscribes to {name} (expected {kind})"
    ours = [x for x in found if x.kind == kind]
    if not ours:
        return mismatch(name, kind, found)
    offered = copy.copy(qos)
    # What is not said is 0 in a profile of ours and infinite in what the graph shows of others.
    offered.deadline = offered.lifespan = offered.liveliness_lease_duration = _INFINITE
    verdicts = [(x, *qos_check_compatible(offered, x.qos)) for x in ours]
    if any(verdict != QoSCompatibility.ERROR for _, verdict, _ in verdicts):
        return ""
    wrong = [f"node {x.node or 'unknown'} ({reason.strip(' ;')})" for x, _, reason in verdicts]
    expected = f"{qos.reliability.name.lower()}, {qos.durability.name.lower()}"
    return f"topic {name}: expected a subscriber that takes {expected}, found {'; '.join(wrong)}"


def unheard(node: Node, topics: Mapping[str, str]) -> list[str]:
    """Complaints about topics (type by name) that nobody publishes with their type; empty if all are well."""
    complaints = []
    for topic, kind in topics.items():
        found = _types(node, topic)
        if not found:
            complaints.append(f"nobody publishes {node.resolve_topic_name(topic)}")
        elif kind not in found:
            complaints.append(_mismatch(node, topic, kind, found))
    return complaints


def require_types(node: Node, topics: Mapping[str, str]) -> None:
    """Refuse topics that are published with another type only; those that nobody publishes yet may come later.

    It waits for publishers, for a second at most.

    Raises:
      ValueError: a message cannot be read; names the topic, the expected and the found type.
    """
    deadline = time.monotonic() + _PATIENCE
    while unheard(node, topics) and time.monotonic() < deadline:
        time.sleep(_POLL)
    found = {topic: _types(node, topic) for topic in topics}
    wrong = [_mismatch(node, t, kind, found[t]) for t, kind in topics.items() if found[t] and kind not in found[t]]
    if wrong:
        raise ValueError(f"wrong type of topic {'; '.join(wrong)}; mend the RobotSpec or the driver")


def _types(node: Node, topic: str) -> list[str]:
    return sorted({publisher.kind for publisher in publishers(node, topic)})


def _mismatch(node: Node, topic: str, kind: str, found: list[str]) -> str:
    return f"{node.resolve_topic_name(topic)}: expected {kind}, found {', '.join(found)}"


def _endpoint(info: Any) -> Endpoint:
    known = info.node_name != _UNKNOWN
    name = f"{info.node_namespace.rstrip('/')}/{info.node_name}" if known else ""
    return Endpoint(bytes(info.endpoint_gid), name, info.topic_type, info.qos_profile)
