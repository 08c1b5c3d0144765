"""Sensors that robots have, from real drivers to rows: the policy node in real time, each type on its topic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("PIL")

from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float64MultiArray

from robot_dreamer.record import StepRecord
from robot_dreamer.ros_types import message_class, new_message
from ros_nodes.policy_node import PolicyNode
from tests.robot_sensors import RICH, depth, picture, rich_messages, sensor_text
from tests.ros.stage import MOVES

HELD = ("goal", "wanted")
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Drivers:
    """All drivers of the robot, in two nodes that share the joints; goals are said once, before anybody listens."""

    def __init__(self, ros: Any) -> None:
        self.nodes = [ros.add(ros.node(name)) for name in ("arm_driver", "gripper_driver")]
        self.said = 0
        self._publishers: list[Any] = []
        for n, (topic, kind, message) in enumerate(self._messages()):
            qos = LATCHED if topic in HELD else 10
            self._publishers.append(self.nodes[n == 0].create_publisher(message_class(kind), topic, qos))
            if topic in HELD:
                self._publishers[-1].publish(message)
        self.nodes[0].create_subscription(Float64MultiArray, "motor", lambda message: None, 10)

    def speak(self) -> None:
        """What is not held, now."""
        self.said += 1
        for publisher, (topic, _, message) in zip(self._publishers, self._messages(), strict=True):
            if topic not in HELD:
                publisher.publish(message)

    def _messages(self) -> list[tuple[str, str, Any]]:
        return rich_messages(new_message, self.nodes[0].get_clock().now().nanoseconds)


def test_each_type_reaches_the_rows(ros: Any, tmp_path: Path) -> None:
    file = tmp_path / "rich.yaml"
    file.write_text(sensor_text())
    drivers = Drivers(ros)
    drivers.nodes[0].create_timer(0.02, drivers.speak)
    values = {"robot": str(file), "clock": "realtime", **MOVES}
    node = ros.add(
        PolicyNode(context=ros.context, parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
    )
    rows: list[StepRecord] = []
    assert node.bring_up()
    node.components.controller._record = rows.append
    ros.until(lambda: len(rows) >= 3, "three rows")
    row = rows[-1]
    for name, expected in RICH.items():
        np.testing.assert_allclose(row.observation[name], expected, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(row.observation["camera"], picture())
    assert [int(x) for x in row.observation["depth_mm"][:4, 0, 0]] == [0, 255, 255, 128]
    np.testing.assert_array_equal(row.observation["depth_m"], row.observation["depth_mm"])
    assert np.isnan(depth()[1, 0])
    assert node.components.crowd.look() == {}
    node.trigger_shutdown()
