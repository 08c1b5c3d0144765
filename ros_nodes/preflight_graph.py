"""Findings about the ROS graph: who publishes what the spec reads, and who takes what it commands."""

from __future__ import annotations

from collections.abc import Iterator

from rclpy.node import Node

from robot_dreamer.preflight.findings import Finding, note, stop, warning
from robot_dreamer.spec import RobotSpec
from ros_nodes import e_stop, heartbeat
from ros_nodes.commander import COMMANDS
from ros_nodes.graph import deafness, mismatch, publishers, servers, subscriptions

_TRIGGER = "std_srvs/srv/Trigger"
_POLICY = "policy"  # name of the policy node


def graph_findings(node: Node, spec: RobotSpec, told: set[str]) -> Iterator[Finding]:
    """All of it; adds to `told` the sensor topics whose silence is explained by it."""
    sources = {s.topic: s for s in [*(o.source for o in spec.quantities), *spec.signals.values()]}
    for topic, source in sources.items():
        yield from _sensor(node, topic, source.type, source.parts, told)
    for action in spec.actions:
        for topic in action.command.topics:
            yield from _command(node, action.name, topic, action.command.type)
    yield from _reset(node, spec.episode.reset_service)
    yield from _watchers(node)
    yield from _clock(node)


def _sensor(node: Node, topic: str, kind: str, parts: bool, told: set[str]) -> Iterator[Finding]:
    name = node.resolve_topic_name(topic)
    where, found = f"topic {topic}", publishers(node, name)
    right = [x for x in found if x.kind == kind]
    if not found:
        told.add(topic)
        others = _of_type(node, kind, name)
        text = f"nobody publishes {name} ({kind}); topics of this type: {others}"
        yield stop(where, text, "start the driver, or mend the topic in the spec (--namespace?)")
        return
    if not right:
        told.add(topic)
        yield stop(where, f"wrong type: {mismatch(name, kind, found)}", "mend the type in the spec, or the driver")
        return
    nodes = sorted({x.node or "a node that is not known yet" for x in right})
    if len(right) > 1 and not parts:
        text = f"two publishers or more: expected one node, found {len(right)} ({', '.join(nodes)})"
        yield stop(where, text, "end one of them; with two, no episode begins. parts: true if each has some joints")
    else:
        yield note(where, f"published by {', '.join(nodes)}")


def _command(node: Node, action: str, topic: str, kind: str) -> Iterator[Finding]:
    where, name = f"action {action}", node.resolve_topic_name(topic)
    problem = deafness(node, topic, kind, COMMANDS)
    if problem:
        advice = "start the controller, or mend command.topic and command.type in the spec; nothing moves like this"
        taken = _of_type(node, kind, name, subscribed=True)
        yield stop(where, f"{problem}; others take this type on: {taken}", advice)
    else:
        mine = node.get_fully_qualified_name()
        nodes = sorted({x.node for x in subscriptions(node, name) if x.node != mine})
        yield note(where, f"{name} is taken by {', '.join(nodes)}")
    rivals = sorted({x.node or "unknown" for x in publishers(node, name)})
    if rivals:
        text = f"{', '.join(rivals)} publishes {name} already"
        yield warning(where, text, "end it before the policy node is activated: one node commands a robot")


def _reset(node: Node, service: str) -> Iterator[Finding]:
    if not service:
        return
    name, offered = node.resolve_service_name(service), servers(node, service)
    where = f"reset {service}"
    if not offered:
        text = f"nobody offers the service {name}"
        yield stop(where, text, "start the node that resets the robot, or leave reset_service out of the spec")
        return
    wrong = [f"{owner}: {', '.join(kinds)}" for owner, kinds in offered.items() if _TRIGGER not in kinds]
    if wrong:
        yield stop(where, f"expected {_TRIGGER}, found {'; '.join(wrong)}", "offer it with that type")
    elif len(offered) > 1:
        yield stop(where, f"expected one node that offers it, found {', '.join(offered)}", "end one of them")
    else:
        yield note(where, f"offered by {', '.join(offered)}; it was not called")


def _watchers(node: Node) -> Iterator[Finding]:
    """The heartbeat's listener and the emergency stop."""
    beat = node.resolve_topic_name(heartbeat.TOPIC).replace(node.get_fully_qualified_name(), _under(node, _POLICY), 1)
    if not subscriptions(node, beat):
        text = f"nobody listens to {beat} ({heartbeat.KIND})"
        advice = "let the low level stop by itself when it ends (heartbeat_required), or know what does instead"
        yield warning("heartbeat", text, advice)
    stops = node.resolve_topic_name(e_stop.TOPIC)
    found = publishers(node, stops)
    if not found:
        text = f"nobody publishes {stops} ({e_stop.KIND})"
        yield warning("emergency stop", text, "connect a button; one in software does not replace one in hardware")
    elif problem := mismatch(stops, e_stop.KIND, found):
        yield stop("emergency stop", f"wrong type: {problem}", f"let the button publish {e_stop.KIND}")


def _clock(node: Node) -> Iterator[Finding]:
    simulated = bool(node.get_parameter("use_sim_time").value)
    found = publishers(node, "/clock")
    if found and not simulated:
        text = "/clock is published, so time may be a simulation's"
        yield warning("clock", text, "say --sim-time if this robot is simulated, and use_sim_time of the policy node")
    if simulated and not found:
        yield stop(
            "clock", "nobody publishes /clock although --sim-time is set", "start the simulation, or leave it out"
        )


def _of_type(node: Node, kind: str, besides: str, subscribed: bool = False) -> str:
    """Other topics of a type that somebody publishes, or subscribes to."""
    ends = subscriptions if subscribed else publishers
    names = [name for name, kinds in node.get_topic_names_and_types() if kind in kinds and name != besides]
    return ", ".join(sorted(name for name in names if any(x.kind == kind for x in ends(node, name)))[:8]) or "none"


def _under(node: Node, name: str) -> str:
    return f"{node.get_namespace().rstrip('/')}/{name}"
