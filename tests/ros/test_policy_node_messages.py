"""Messages to arrays and back, and the observer's rules about order and age."""

from __future__ import annotations

import array

import numpy as np
import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import Image, Imu, JointState

from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.onboard.messages import make_reader, stamp_of
from robot_dreamer.onboard.observer import Observer
from robot_dreamer.spec import Source, parse_spec
from tests.onboard_models import TOY, toy_spec
from tests.ros.fake_robot import joint_state

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
    message.orientation.x, message.orientation.w = 0.5, 0.25
    message.angular_velocity.y = 2.0
    message.orientation_covariance[0] = 0.0
    fields = ("orientation", "angular_velocity", "linear_acceleration")
    orientation, gyro, accelerometer = (make_reader(Source("i", "sensor_msgs/msg/Imu", field)) for field in fields)
    np.testing.assert_array_equal(orientation(message), [0.5, 0, 0, 0.25])
    np.testing.assert_array_equal(gyro(message), [0, 2, 0])
    message.linear_acceleration_covariance[0] = -1.0
    with pytest.raises(ObservationError, match="does not provide linear_acceleration"):
        accelerometer(message)


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


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def show(
    observer: Observer, tick: int, reward: float = 1.0, terminal: float = 0.0, topics: str = "joint_states task"
) -> None:
    stamp = tick * 1_000_000
    if "joint_states" in topics:
        observer.receive("joint_states", joint_state(stamp, ["hinge"], [np.pi / 2], [float(tick)]))
    if "task" in topics:
        observer.receive("task", joint_state(stamp, ["reward", "terminal"], [reward, terminal]))


def test_sample_is_assembled_by_the_spec() -> None:
    observer = Observer(toy_spec())
    assert observer.topics == {"joint_states": "sensor_msgs/msg/JointState", "task": "sensor_msgs/msg/JointState"}
    show(observer, 7, reward=0.5, terminal=1.0)
    sample = observer.sample()
    np.testing.assert_allclose(sample.observation["angle"], [0, 1], atol=1e-6)
    np.testing.assert_array_equal(sample.observation["speed"], [7])
    assert (sample.reward, sample.terminal, sample.stamp) == (0.5, True, 7_000_000)


def test_rewards_between_two_samples_are_summed_once() -> None:
    observer = Observer(toy_spec())
    for tick in (1, 2, 2, 3):  # 2 was published again
        show(observer, tick, reward=float(tick))
    assert observer.counters()["repeated task"] == 1
    assert observer.sample().reward == 6.0
    assert observer.stalled == 0
    assert observer.sample().reward == 0.0
    assert observer.stalled == 1
    show(observer, 4)
    observer.forget()
    show(observer, 5, reward=2.0)
    assert observer.sample().reward == 2.0


def test_ages_and_missing_topics() -> None:
    clock = Clock()
    observer = Observer(toy_spec(), clock=clock)
    assert observer.missing() == ["joint_states (no message yet)", "task (no message yet)"]
    show(observer, 1)
    assert observer.missing() == []
    clock.now = 0.4
    show(observer, 2, topics="task")
    clock.now = 0.6
    assert observer.missing() == ["joint_states (silent for 0.6 s, allowed 0.5 s)"]


def test_a_robot_that_does_not_learn_needs_no_reward() -> None:
    observer = Observer(toy_spec(), need_reward=False)
    show(observer, 1, topics="joint_states")
    assert observer.missing() == []
    sample = observer.sample()
    assert (sample.reward, sample.terminal) == (0.0, False)


def test_late_messages_are_dropped_and_a_clock_that_began_again_is_not() -> None:
    observer = Observer(toy_spec())
    show(observer, 5000)
    show(observer, 4999)
    assert observer.counters()["late"] == 2 and observer.sample().observation["speed"][0] == 5000
    show(observer, 1)
    assert observer.clock_jumps == 2 and observer.sample().observation["speed"][0] == 1
    lockstep = Observer(toy_spec(), lockstep=True)
    show(lockstep, 5000)
    show(lockstep, 4999)
    assert (lockstep.counters()["late"], lockstep.clock_jumps) == (0, 2)


def test_common_stamp() -> None:
    observer = Observer(toy_spec(), lockstep=True)
    assert observer.common_stamp() is None
    show(observer, 1, topics="task")
    assert observer.common_stamp() is None
    show(observer, 1, topics="joint_states")
    assert observer.common_stamp() == 1_000_000
    show(observer, 2, topics="task")
    assert observer.common_stamp() is None


def test_nonsense_is_named() -> None:
    observer = Observer(toy_spec())
    show(observer, 1, terminal=float("nan"))
    with pytest.raises(ObservationError, match="topic task: terminal"):
        observer.sample()
    show(observer, 2)
    observer.receive("joint_states", joint_state(3_000_000, ["hinge"], [float("nan")], [0.0]))
    with pytest.raises(ObservationError, match="observation angle: expected finite numbers"):
        observer.sample()


def test_one_topic_cannot_have_two_types() -> None:
    spec = TOY.replace("topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]", "topic: imu, "
                       "type: sensor_msgs/msg/JointState, field: position, names: [reward]")  # fmt: skip
    gyro = "{name: gyro, shape: [3], source: {topic: imu, type: sensor_msgs/msg/Imu, field: angular_velocity}}"
    with pytest.raises(ValueError, match="topic imu: the spec names two types"):
        Observer(parse_spec(spec.replace("actions:", f"  - {gyro}\nactions:")))
