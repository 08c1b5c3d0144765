"""`robot-dreamer check --live`: what only the graph shows, and, longer, each of the twenty planted errors by itself."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytest.importorskip("rclpy")

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger

from robot_dreamer.preflight.findings import Finding, Weight, is_go
from robot_dreamer.ros_types import message_class, new_message
from ros_nodes.preflight import Preflight, listen
from tests.planted_robot import NAMED, RATE, Drivers, planted_spec

QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)


class Robot:
    """The planted robot as nodes: drivers, a controller of ros2_control, a reset, a button and who needs heartbeats."""

    def __init__(self, ros: Any, plant: str = "") -> None:
        self.ros, self.plant = ros, plant
        self._drivers = Drivers(new_message, plant)
        self._node = ros.add(ros.node("drivers"))
        self._rival: Any = None
        if plant in ("two publishers", "wrong type"):  # another participant: in one, a topic has one type
            self._rival = ros.stranger()
        self._publishers: dict[str, Any] = {}
        self._begun = time.monotonic()
        controller = ros.add(ros.node("arm_controller"))
        if plant != "nobody listening":
            controller.create_subscription(Float64MultiArray, "arm/commands", lambda message: None, 10)
        controller.declare_parameters(
            "",
            [
                ("joints", ["b", "a", "c"] if plant == "controller's order" else ["a", "b", "c"]),
                ("interface_name", "effort" if plant == "wrong controller" else "position"),
            ],
        )
        if plant != "missing reset":
            self._node.create_service(Trigger, "reset", lambda request, response: response)
        self._node.create_subscription(Bool, "policy/heartbeat", lambda message: None, 10)
        self._node.create_publisher(Bool, "e_stop", 10)
        self._node.create_timer(1 / RATE, self._speak)

    def _speak(self) -> None:
        now = self._node.get_clock().now().nanoseconds
        for n, said in enumerate(self._drivers.at(time.monotonic() - self._begun, now)):
            owner = self._rival if self._rival is not None and n == 1 else self._node
            key = f"{owner.get_name()} {said.topic}"
            if key not in self._publishers:
                self._publishers[key] = owner.create_publisher(message_class(said.kind), said.topic, QOS)
            self._publishers[key].publish(said.message)


def listened(ros: Any, plant: str, seconds: float) -> list[Finding]:
    """What a check finds that listens for so long."""
    Robot(ros, plant)
    preflight = Preflight(ros.add(ros.node("preflight")), planted_spec())
    ros.spin(0.4 * seconds)
    preflight.acquainted()
    ros.spin(0.6 * seconds)
    return list(preflight.findings(seconds))


def told(findings: list[Finding], weight: Weight | None = None) -> str:
    return "\n".join(f"{x.where}: {x.found}" for x in findings if weight in (None, x.weight))


def test_a_sound_robot_is_go(ros: Any) -> None:
    findings = listened(ros, "", 2.5)
    warnings = [x for x in findings if x.weight is Weight.WARNING and "missing" not in x.found and "Hz" not in x.found]
    notes = told(findings)
    assert is_go(findings) and not warnings, notes  # a busy machine is slow, and loses messages
    assert "controller /arm_controller of arm/commands has the joints that the spec says" in notes
    assert "published by /drivers" in notes and "offered by /drivers; it was not called" in notes


@pytest.mark.parametrize(
    ("plant", "text"),
    [
        *((plant, NAMED[plant]) for plant in ("two publishers", "wrong type", "wrong controller")),
        ("controller's order", "has its joints in another order: expected a, b, c, found b, a, c"),
    ],
)
def test_what_the_graph_shows(ros: Any, plant: str, text: str) -> None:
    findings = listened(ros, plant, 1.0)
    assert text in told(findings, Weight.STOP)


def test_an_empty_graph_is_named_part_by_part(ros: Any) -> None:
    ros.add(ros.node("other")).create_subscription(Float64MultiArray, "elsewhere/commands", lambda message: None, 10)
    preflight = Preflight(ros.add(ros.node("preflight")), planted_spec())
    ros.spin(0.3)
    preflight.acquainted()
    findings = list(preflight.findings(0.3))
    stops, warnings = told(findings, Weight.STOP), told(findings, Weight.WARNING)
    assert "nobody publishes /joint_states (sensor_msgs/msg/JointState)" in stops and " came within" not in stops
    assert "nobody subscribes to /arm/commands" in stops and "others take this type on: /elsewhere/commands" in stops
    assert "reset reset: nobody offers the service /reset" in stops
    assert "heartbeat: nobody listens to /policy/heartbeat" in warnings
    assert "emergency stop: nobody publishes /e_stop" in warnings


def test_no_policy_node_takes_a_check_for_the_robot(ros: Any) -> None:
    node = ros.add(ros.node("preflight"))
    preflight = Preflight(node, planted_spec())
    ros.spin(0.1)
    preflight.acquainted()
    assert not node.get_subscriptions_info_by_topic("/arm/commands")
    assert not [info for info in node.get_publishers_info_by_topic("/arm/commands")]


@pytest.mark.soak
@pytest.mark.parametrize("plant", NAMED)
def test_each_of_the_twenty_planted_errors_is_found_and_named(ros: Any, plant: str) -> None:
    findings = listened(ros, plant, 5.0)
    shown = told(findings, Weight.STOP) + told(findings, Weight.WARNING)
    assert NAMED[plant] in shown, shown


def test_a_namespace_is_where_the_robot_is_looked_for(ros_domain: int) -> None:
    shown = told(listen(planted_spec(), 0.3, "/arm1", False), Weight.STOP)
    assert "nobody publishes /arm1/joint_states" in shown and "nobody subscribes to /arm1/arm/commands" in shown
    assert "nobody offers the service /arm1/reset" in shown


def test_what_takes_commands_and_does_not_answer_is_named(ros: Any) -> None:
    mute = ros.add(Node("mute", context=ros.context, start_parameter_services=False))
    mute.create_subscription(Float64MultiArray, "arm/commands", lambda message: None, 10)
    node = ros.add(ros.node("preflight"))
    preflight = Preflight(node, planted_spec())
    ros.until(lambda: node.get_subscriptions_info_by_topic("/arm/commands"), "the subscription is known")
    preflight.acquainted()
    notes = told(list(preflight.findings(0.3)), Weight.NOTE)
    assert "/mute of arm/commands did not answer /mute/get_parameters" in notes


def test_the_age_of_a_message_does_not_grow_while_it_waits_for_us(ros: Any) -> None:
    driver, listener = ros.add(ros.node("driver")), ros.add(ros.node("preflight"))
    stream = Preflight(listener, planted_spec()).evidence.streams["imu"]
    publisher = driver.create_publisher(message_class("sensor_msgs/msg/Imu"), "imu", QOS)
    ros.until(publisher.get_subscription_count, "the two know each other")
    for n in range(3):
        message = new_message("sensor_msgs/msg/Imu")
        message.orientation.w, message.header.stamp.sec = 1.0, n + 1
        publisher.publish(message)
    time.sleep(0.5)  # delivered, and not taken yet
    taken = listener.get_clock().now().nanoseconds
    ros.until(lambda: stream.count == 3, "all have come")
    assert all(received < taken for received in stream.received)
