"""Whether those who take the commands take what the spec says: controllers of ros2_control name their joints and their
interface in parameters. Other nodes have none of these, and nothing is said of them; of those that do not answer it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rcl_interfaces.srv import GetParameters
from rclpy.node import Node

from robot_dreamer.preflight.findings import Finding, note, stop
from robot_dreamer.spec import ActionSpec, RobotSpec
from robot_dreamer.spec.action import ARRAY, TRAJECTORY
from robot_dreamer.spec.units import measure
from ros_nodes.graph import subscriptions

_ASKED = ("joints", "interface_name", "command_interfaces")
_LOOK = 0.1  # seconds between two looks whether a node's parameters have been discovered
_MEASURES = {
    "position": ("angle", "length"),
    "velocity": ("angular velocity", "velocity"),
    "effort": ("torque", "force", "current"),
}


class Controllers:
    """Asks, and judges the answers; its node must be spun in between."""

    def __init__(self, node: Node, spec: RobotSpec) -> None:
        self._node, self._spec = node, spec
        self._owners: list[tuple[ActionSpec, str, Any]] = []  # with a client of the owner's parameters
        self._answers: dict[tuple[str, str, str], Any] = {}  # by action, owner and parameter: futures

    def ask(self) -> None:
        """Ask all nodes that subscribe to commands now."""
        mine = self._node.get_fully_qualified_name()
        for action in self._spec.actions:
            if action.command.type not in (ARRAY, TRAJECTORY):
                continue
            name = self._node.resolve_topic_name(action.command.topic)
            for owner in sorted({endpoint.node for endpoint in subscriptions(self._node, name)} - {"", mine}):
                client: Any = self._node.create_client(GetParameters, f"{owner}/get_parameters")
                self._owners.append((action, owner, client))
        self._node.create_timer(_LOOK, self._look)

    def findings(self) -> Iterator[Finding]:
        """What the answers so far say."""
        for action, owner, _ in self._owners:
            if not all(self._answered(action.name, owner, name) for name in _ASKED):
                text = f"{owner} of {action.command.topic} did not answer {owner}/get_parameters"
                yield note(f"action {action.name}", f"{text}: its joints and interface were not looked at")
            said = {name: self._said(action.name, owner, name) for name in _ASKED}
            yield from _judge(action, owner, said["joints"], said["interface_name"] or said["command_interfaces"])

    def _look(self) -> None:
        for action, owner, client in self._owners:
            for name in _ASKED:  # each alone: one that is not declared leaves the whole answer empty
                key = (action.name, owner, name)
                if key not in self._answers and client.service_is_ready():
                    self._answers[key] = client.call_async(GetParameters.Request(names=[name]))

    def _answered(self, action: str, owner: str, name: str) -> bool:
        answer = self._answers.get((action, owner, name))
        return answer is not None and answer.done() and answer.result() is not None

    def _said(self, action: str, owner: str, name: str) -> list[str]:
        """The texts of a parameter; none if it is no text, not declared, or not answered."""
        if not self._answered(action, owner, name) or not self._answers[action, owner, name].result().values:
            return []
        (value,) = self._answers[action, owner, name].result().values
        return list(value.string_array_value) or [text for text in (value.string_value,) if text]


def _judge(action: ActionSpec, owner: str, joints: list[str], interfaces: list[str]) -> Iterator[Finding]:
    where, wanted = f"action {action.name}", list(action.command.names)
    controller = f"controller {owner} of {action.command.topic}"
    if joints and wanted and sorted(joints) != sorted(wanted):
        text = f"{controller} has other joints: expected {', '.join(wanted)}, found {', '.join(joints)}"
        yield stop(where, text, "name the topic of the right controller, or mend command.names")
    elif joints and wanted and joints != wanted and action.command.type == ARRAY:
        text = f"{controller} has its joints in another order: expected {', '.join(wanted)}, found {', '.join(joints)}"
        yield stop(where, text, "write command.names (and limits, scale) in the controller's order")
    elif joints and not wanted and len(joints) != action.size:
        text = f"{controller} has {len(joints)} joints ({', '.join(joints)}), the action {action.size} numbers"
        yield stop(where, text, "name the topic of the right controller, or mend the action's limits")
    elif joints:
        yield note(where, f"{controller} has the joints that the spec says")
    found = measure(action.unit)
    known = [kind for kind in interfaces if kind in _MEASURES]
    if found and known and not any(found in _MEASURES[kind] for kind in known):
        text = f"{controller} takes {' and '.join(known)}, the action is in {action.unit}, which is a {found}"
        yield stop(where, text, "name the topic of the right controller, or mend the action's unit and limits")
