"""Sends commands: one Float64MultiArray topic per action."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Float64MultiArray

from robot_dreamer.onboard.guard import Commands
from robot_dreamer.spec import RobotSpec
from ros_nodes.messages import command_message, fill_command

COMMANDS = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


class Commander:
    """Publishers of a spec's actions. One thread at a time.

    Attributes:
      sent: sets of commands sent.
    """

    def __init__(self, node: Node, spec: RobotSpec) -> None:
        topics = [a.command.topic for a in spec.actions]
        twice = sorted({t for t in topics if topics.count(t) > 1})
        if twice:
            raise ValueError(f"two actions share the command topic {', '.join(twice)}; join them into one action")
        self.sent = 0
        self._node = node
        self._outlets: list[tuple[str, Any, Any]] = []
        for action in spec.actions:
            message = command_message(action.size)
            fill_command(message, action.neutral_command(), "")
            publisher = node.create_publisher(Float64MultiArray, action.command.topic, COMMANDS)
            self._outlets.append((action.name, publisher, message))

    def publish(self, commands: Commands, label: str = "") -> None:
        """Send commands in units, by action name. `label`: the stamp that they answer, in lockstep."""
        for name, publisher, message in self._outlets:
            fill_command(message, commands[name], label)
            publisher.publish(message)
        self.sent += 1

    def repeat(self, label: str) -> None:
        """Send the last commands again (neutral ones if there were none)."""
        for _, publisher, message in self._outlets:
            message.layout.dim[0].label = label
            publisher.publish(message)
        self.sent += 1

    def destroy(self) -> None:
        """Give the publishers back."""
        for _, publisher, _ in self._outlets:
            self._node.destroy_publisher(publisher)
