"""Messages to arrays and back, and the observer's rules about order and age."""

from __future__ import annotations

import array
import math

import numpy as np
import pytest
from sensor_msgs.msg import Image, Imu, JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.onboard.messages import make_reader, stamp_of, time_of
from robot_dreamer.ros_types import message_class
from robot_dreamer.spec import Source
from tests.ros.fake_robot import joint_state

pytest.importorskip("rclpy")


JOINTS = Source("j", "sensor_msgs/msg/JointState", "velocity", ("b", "a"))
CAMERA = Source("c", "sensor_msgs/msg/Image", "data")


def joints(names: list[str], velocity: list[float]) -> JointState:
    return JointState(name=names, velocity=velocity)


def image(pixels: np.ndarray, encoding: str, padding: int = 0) -> Image:
    height, width, channels = pixels.shape
    rows = np.pad(pixels.reshape(height, -1), ((0, 0), (0, padding)))
    data = array.array("B", rows.tobytes())
    return Image(height=height, width=width, encoding=encoding, step=width * channels + padding, data=data)


def test_stamp() -> None:
    assert stamp_of(joint_state(3_000_000_007, [], [])) == 3_000_000_007


def test_joints_are_picked_by_name_in_any_order() -> None:
    read = make_reader(JOINTS)
    np.testing.assert_array_equal(read(joints(["a", "b", "c"], [1, 2, 3])), [2, 1])
    np.testing.assert_array_equal(read(joints(["a", "b", "c"], [4, 5, 6])), [5, 4])
    np.testing.assert_array_equal(read(joints(["c", "b", "a"], [4, 5, 6])), [5, 6])  # the order changed


def test_missing_joint_and_empty_field_are_named() -> None:
    read = make_reader(JOINTS)
    with pytest.raises(ObservationError, match="topic j: joint a is missing, found b, x"):
        read(joints(["b", "x"], [1, 2]))
    with pytest.raises(ObservationError, match="topic j: expected 2 numbers in velocity, found 0"):
        read(joints(["a", "b"], []))


def test_imu() -> None:
    message = Imu()
    message.orientation.x, message.orientation.w = 0.6, 0.8
    message.angular_velocity.y = 2.0
    message.orientation_covariance[0] = 0.0
    fields = ("orientation", "angular_velocity", "linear_acceleration")
    orientation, gyro, accelerometer = (make_reader(Source("i", "sensor_msgs/msg/Imu", field)) for field in fields)
    np.testing.assert_array_equal(orientation(message), [0.6, 0, 0, 0.8])
    np.testing.assert_array_equal(gyro(message), [0, 2, 0])
    message.linear_acceleration_covariance[0] = -1.0
    with pytest.raises(ObservationError, match="does not provide linear_acceleration"):
        accelerometer(message)


@pytest.mark.parametrize("kind", ["sensor_msgs/msg/Imu", "nav_msgs/msg/Odometry"])
@pytest.mark.parametrize(
    ("numbers", "found"),
    [((0, 0, 0, 0), "0"), ((3, 3, 3, 3), "6"), ((0, 0, 0, 0.89), "0.89"), ((0, 0, 0, 1.11), "1.11")]
    + [((0, math.nan, 0, 1), "nan"), ((math.inf, 0, 0, 0), "inf")],
)
def test_a_quaternion_that_is_none_is_refused(kind: str, numbers: tuple[float, ...], found: str) -> None:
    message = message_class(kind)()
    quaternion = (message if kind.endswith("Imu") else message.pose.pose).orientation
    quaternion.x, quaternion.y, quaternion.z, quaternion.w = map(float, numbers)
    with pytest.raises(ObservationError, match=rf"topic i: orientation: .*norm 1 \(0.9 to 1.1\), found {found}"):
        make_reader(Source("i", kind, "orientation"))(message)


@pytest.mark.parametrize(("norm", "shown"), [(0.91, 1.0), (1.09, 1.0), (1.0 + 1e-9, 1.0 + 1e-9)])
def test_a_quaternion_of_nearly_norm_1_is_normalised(norm: float, shown: float) -> None:
    message = Imu()
    message.orientation.z = norm
    message.orientation.w = 0.0
    np.testing.assert_array_equal(
        make_reader(Source("i", "sensor_msgs/msg/Imu", "orientation"))(message), [0, 0, shown, 0]
    )


@pytest.mark.parametrize("names", [["b", "a", "b"], ["b", "b", "a"], ["a", "b", "b", "b"]])
@pytest.mark.parametrize("before", [[], ["a", "b"]])
def test_a_joint_that_is_named_twice_is_refused(names: list[str], before: list[str]) -> None:
    read = make_reader(JOINTS)
    if before:
        read(joints(before, [1, 2]))
    for _ in range(2):
        with pytest.raises(ObservationError, match="topic j: expected joint b once, found it twice or more"):
            read(joints(names, [25.0] * len(names)))
    np.testing.assert_array_equal(read(joints(["a", "b", "c", "c"], [1, 2, 3, 4])), [2, 1])  # nobody reads c


def test_a_message_without_names_misses_its_joints_from_the_first_one_on() -> None:
    read = make_reader(JOINTS)
    for _ in range(2):
        with pytest.raises(ObservationError, match="topic j: joints b, a are missing, found none"):
            read(joints([], []))
        read(joints(["a", "b"], [1, 2]))


NOT_TIMES = [
    "",
    "joints",
    "0",
    "7",
    "-5000000000",
    "٣٣٣٣٣٣٣٣٣",
    "²²²²²²²²²",
    "1_000_000_000",
    "9" * 19,
    "1" * 5000,
    " 20000000",
    "020000000",
]


@pytest.mark.parametrize("text", NOT_TIMES)
def test_text_that_can_be_no_time_is_no_stamp(text: str) -> None:
    message = Float64MultiArray()
    message.layout.dim.append(MultiArrayDimension(label=text))
    assert time_of(text) == stamp_of(message) == 0


@pytest.mark.parametrize("text", ["1000000", "20000000", "1700000000000000000", str(2**63 - 1)])
def test_text_that_can_be_a_time_is_a_stamp(text: str) -> None:
    message = Float64MultiArray()
    message.layout.dim.append(MultiArrayDimension(label=text))
    assert time_of(text) == stamp_of(message) == int(text)


def test_a_header_that_can_be_no_time_is_no_stamp() -> None:
    message = JointState()
    message.header.stamp.sec = -5
    assert stamp_of(message) == 0
    message.header.stamp.sec, message.header.stamp.nanosec = 5, 4_000_000_000
    assert stamp_of(message) == 0


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(("encoding", "channels"), [("rgb8", 3), ("bgr8", 3), ("mono8", 1), ("rgba8", 4), ("bgra8", 4)])
def test_images(encoding: str, channels: int, padding: int) -> None:
    pixels = np.arange(4 * 6 * channels, dtype=np.uint8).reshape(4, 6, channels)
    expected = pixels[:, :, :3]
    if encoding.startswith("bgr"):
        expected = expected[:, :, ::-1]
    found = make_reader(CAMERA)(image(pixels, encoding, padding))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_broken_images_are_refused() -> None:
    message = image(np.zeros((4, 6, 3), np.uint8), "rgb8")
    message.encoding = "yuv422"
    with pytest.raises(ObservationError, match="found 'yuv422'"):
        make_reader(CAMERA)(message)
    message.encoding, message.height = "rgb8", 5
    with pytest.raises(ObservationError, match="topic c: expected 6x5 rgb8, found 72 bytes, step 18"):
        make_reader(CAMERA)(message)


class Anything:
    """A message whose every field is the same nonsense."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __getattr__(self, name: str) -> object:
        return self.value


@pytest.mark.parametrize("value", [None, -1, 10**30, math.nan, "", "x" * 99, b"", [], [[1], [2, 3]], {}])
@pytest.mark.parametrize(
    "source",
    [
        JOINTS,
        CAMERA,
        Source("i", "sensor_msgs/msg/Imu", "orientation"),
        Source("i", "nav_msgs/msg/Odometry", "position"),
        Source("n", "std_msgs/msg/Float64MultiArray", "data", ("x",)),
    ],
)
def test_whatever_a_message_holds_the_reader_names_its_topic(source: Source, value: object) -> None:
    with pytest.raises(ObservationError, match=f"topic {source.topic}"):
        make_reader(source)(Anything(value))
