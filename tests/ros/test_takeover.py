"""A person's commands come as messages of the command's own type, whatever that is."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Twist
from rclpy.node import Node
from std_msgs.msg import Float64, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robot_dreamer.spec import parse_spec
from ros_nodes.takeover import TakeOver
from tests.onboard_models import TOY
from tests.ros.conftest import Ros

COMMANDS = {
    "{topic: /cmd_vel, type: geometry_msgs/msg/Twist, names: [linear.x, angular.z]}": [
        ("cmd_vel", Twist, lambda m: (setattr(m.linear, "x", 1.5), setattr(m.angular, "z", 0.5)))
    ],
    "{topic: arm, type: trajectory_msgs/msg/JointTrajectory, names: [a, b], scale: [2.0, -1.0]}": [
        ("arm", JointTrajectory, lambda m: (m.joint_names.extend(["b", "a"]), m.points.append(
            JointTrajectoryPoint(positions=[-0.5, 3.0]))))
    ],
    "{topic: 'm/{name}', type: std_msgs/msg/Float64, names: [a, b]}": [
        ("m/a", Float64, lambda m: setattr(m, "data", 1.5)), ("m/b", Float64, lambda m: setattr(m, "data", 0.5))
    ],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_form_of_command_can_be_given_by_a_person(ros: Ros, command: str) -> None:
    spec = parse_spec(TOY.replace("{topic: motor/commands}", command))
    node = ros.add(Node("policy", context=ros.context))
    now = [0.0]
    takeover = TakeOver(node, spec, 0.5, clock=lambda: now[0])
    assert takeover.commands() is None
    senders: list[tuple[Any, Any]] = []
    for topic, kind, fill in COMMANDS[command]:
        message = kind()
        fill(message)
        senders.append((node.create_publisher(kind, f"policy/teleop/{topic}", 1), message))

    def complete() -> bool:
        for sender, message in senders:
            sender.publish(message)
        found = takeover.commands()
        return found is not None and np.allclose(found["torque"], [1.5, 0.5])

    ros.until(complete, "the person's command, in units")
    now[0] = 0.6
    assert takeover.commands() is None and not takeover.idle  # no longer fresh
    takeover.on = True
    assert takeover.commands() == {"torque": pytest.approx([0.0, 0.0])} and takeover.idle["torque"].all()
    takeover.destroy()


def test_each_joint_with_a_topic_of_its_own_ages_on_its_own(ros: Ros) -> None:
    """A person lets go of one stick: that joint is neutral, however long the other one is held."""
    command = next(c for c in COMMANDS if "Float64" in c)
    spec = parse_spec(TOY.replace("{topic: motor/commands}", command))
    node = ros.add(Node("policy", context=ros.context))
    now = [0.0]
    takeover = TakeOver(node, spec, 0.5, clock=lambda: now[0])
    left, right = (node.create_publisher(Float64, f"policy/teleop/m/{joint}", 1) for joint in "ab")

    def torque(*senders: Any) -> list[float]:
        for sender in senders:
            sender.publish(Float64(data=1.0))
        found = takeover.commands()
        return [] if found is None else found["torque"].tolist()

    ros.until(lambda: torque(left, right) == [1.0, 1.0], "both")
    ros.spin(0.2)  # nothing is on its way any more
    now[0], received = 0.4, takeover.received
    ros.until(lambda: torque(left) and takeover.received > received, "the left one once more")
    now[0] = 0.6
    for takeover.on in (False, True):
        assert torque() == [1.0, 0.0] and takeover.idle["torque"].tolist() == [False, True]
    takeover.destroy()


class Switched(TakeOver):
    """Another thread switches it on while it is asked."""

    answers: ClassVar = iter([False, True])
    on = property(lambda self: next(self.answers), lambda self, on: None)  # type: ignore[assignment]


def test_a_take_over_that_is_switched_on_while_it_is_asked_counts_from_the_next_tick(ros: Ros) -> None:
    """A tick that takes the neutral command and not that it is to be gentle would leap."""
    takeover = Switched(ros.add(Node("policy", context=ros.context)), parse_spec(TOY), 0.5)
    assert takeover.commands() is None and not takeover.idle
    assert takeover.commands() is not None and takeover.idle["torque"].all()
    takeover.destroy()


def test_a_key_that_is_pressed_once_is_heard_by_a_slow_robot(ros: Ros) -> None:
    """Between two of its ticks lie more seconds than a message of a quick one counts for."""
    now = [0.0]
    spec = parse_spec(TOY.replace("rate: 50.0", "rate: 0.5"))
    takeover = TakeOver(ros.add(Node("policy", context=ros.context)), spec, 0.5, clock=lambda: now[0])
    key = ros.add(ros.node("key")).create_publisher(Float64MultiArray, "policy/teleop/motor/commands", 1)
    ros.until(lambda: key.publish(Float64MultiArray(data=[1.0, 0.5])) or takeover.received, "the key")
    for now[0], heard in ((2.0, True), (2.1, False)):
        assert (takeover.commands() is not None) == heard
    takeover.destroy()
