"""What the simulated robot puts into messages is what the policy node takes out of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, Imu, JointState
from std_msgs.msg import Float64MultiArray

from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.onboard.messages import make_reader, stamp_of
from robot_dreamer.spec import Source
from sim import messages
from sim.body_sensors import OdometryReading, PoseReading
from sim.sensors import ImuReading, JointReading

STAMP = 12_345_678_901
TIME = messages.stamp_to_time(STAMP)


def source(kind: str, field: str, names: tuple[str, ...] = ()) -> Source:
    return Source("topic", f"sensor_msgs/msg/{kind}", field, names)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["position", "velocity", "effort"])
def test_joint_states(field: str) -> None:
    message = JointState()
    for scale in (1.0, 2.0):  # the message is used again
        reading = JointReading(["a", "b", "c"], *(scale * np.arange(9.0).reshape(3, 3)))
        messages.fill_joint_state(message, TIME, reading)
        read = make_reader(source("JointState", field, ("c", "a")))(message)
        np.testing.assert_array_equal(read, getattr(reading, field)[[2, 0]])
        assert stamp_of(message) == STAMP


def test_imu() -> None:
    reading = ImuReading(np.array([0.1, 0.3, 0.3, 0.9]), None, np.array([1.0, 2.0, 9.81]))
    message = Imu()
    messages.fill_imu(message, TIME, reading)
    for field in ("orientation", "linear_acceleration"):
        np.testing.assert_array_equal(make_reader(source("Imu", field))(message), getattr(reading, field))
    with pytest.raises(ObservationError, match="does not provide angular_velocity"):
        make_reader(source("Imu", "angular_velocity"))(message)
    assert stamp_of(message) == STAMP


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures(channels: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    message: Any = Image()
    messages.fill_image(message, TIME, picture)
    np.testing.assert_array_equal(make_reader(source("Image", "data"))(message), picture)
    assert stamp_of(message) == STAMP


def test_depth() -> None:
    distances = np.random.default_rng(0).uniform(0.1, 9.0, (5, 7, 1)).astype(np.float32)
    message: Any = Image()
    messages.fill_image(message, TIME, distances)
    np.testing.assert_array_equal(make_reader(source("Image", "data"))(message), distances)


def test_odometry() -> None:
    position, _, linear, angular = (np.arange(n, dtype=float) + n for n in (3, 4, 3, 3))
    reading = OdometryReading(position, np.array([0.1, 0.3, 0.3, 0.9]), linear, angular)
    message = Odometry()
    messages.fill_odometry(message, TIME, reading)
    for field in ("position", "orientation", "linear_velocity", "angular_velocity"):
        read = make_reader(Source("topic", "nav_msgs/msg/Odometry", field))
        np.testing.assert_array_equal(read(message), getattr(reading, field))
    assert stamp_of(message) == STAMP


def test_pose() -> None:
    reading = PoseReading(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.3, 0.3, 0.9]))
    message = PoseStamped()
    messages.fill_pose(message, TIME, reading)
    for field in ("position", "orientation"):
        read = make_reader(Source("topic", "geometry_msgs/msg/PoseStamped", field))
        np.testing.assert_array_equal(read(message), getattr(reading, field))
    assert stamp_of(message) == STAMP


def test_arrays_have_their_stamp_as_a_label() -> None:
    message = Float64MultiArray()
    for values in (np.array([1.0, 2.0]), np.array([3.0, 4.0])):
        messages.fill_array(message, TIME, values)
        read = make_reader(Source("topic", "std_msgs/msg/Float64MultiArray", "data", ("a", "b")))
        np.testing.assert_array_equal(read(message), values)
        assert stamp_of(message) == STAMP
    with pytest.raises(ObservationError, match="topic topic: expected 2 numbers, found 3"):
        read(Float64MultiArray(data=[1.0, 2.0, 3.0]))
    assert stamp_of(Float64MultiArray()) == 0
    message.layout.dim[0].label = "feet"
    assert stamp_of(message) == 0
