"""Commands as messages of ROS 2 and of bags: what the codec writes, and that it reads it as meant."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.duration import Duration
from std_msgs.msg import Float64, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from robot_dreamer import ros_types
from robot_dreamer.onboard.command_codec import CommandError, CommandReader, NewMessage, make_writer
from robot_dreamer.spec import ActionSpec, Command, load_spec, parse_spec
from ros_nodes.commander import Commander
from tests.onboard_models import TOY
from tests.ros.conftest import Ros

STAMP, NOW, PERIOD = 12_000_000_034, 99_000_000_000, 0.05
NUMBERS = np.array([1.5, -0.5])
ARRAY = Command("c")
SCALED = Command("c", names=("a", "b"), scale=(2.0, -1.0), offset=(0.0, 10.0))
TRAJECTORY = Command("c", "trajectory_msgs/msg/JointTrajectory", ("a", "b"))
VELOCITY = Command("c", "trajectory_msgs/msg/JointTrajectory", ("a", "b"), field="velocities", time_from_start=1.25)
TWIST = Command("c", "geometry_msgs/msg/Twist", ("linear.x", "angular.z"))
STAMPED = Command("c", "geometry_msgs/msg/TwistStamped", ("angular.z", "linear.y"))
FRAMED = Command("c", "geometry_msgs/msg/TwistStamped", ("angular.z", "linear.y"), frame="base")
FLOATS = Command("{name}/c", "std_msgs/msg/Float64", ("a", "b"))
ALL = [ARRAY, SCALED, TRAJECTORY, VELOCITY, TWIST, STAMPED, FRAMED, FLOATS]


@pytest.fixture(params=["ros", "bags"])
def new(request: pytest.FixtureRequest) -> NewMessage:
    """Both kinds of messages go through the same code."""
    if request.param == "ros":
        return ros_types.new_message
    pytest.importorskip("rosbags")
    from robot_dreamer.data.bags import new_message

    return new_message


def messages(new: NewMessage, command: Command, answers: int = 0, numbers: np.ndarray = NUMBERS) -> list[Any]:
    writer = make_writer(command, 2, PERIOD, new)
    writer.fill(np.array([7.0, 7.0]), 3, 4)  # nothing of the tick before may remain
    writer.fill(numbers, answers, NOW)
    return writer.messages


def reader(command: Command) -> CommandReader:
    return CommandReader(ActionSpec("arm", command, low=(-2.0, -2.0), high=(2.0, 2.0)))


def nanoseconds(time: Any) -> int:
    return time.sec * 10**9 + time.nanosec


def test_array(new: NewMessage) -> None:
    (message,) = messages(new, ARRAY)
    assert list(message.data) == [1.5, -0.5]
    dim = message.layout.dim[0]
    assert (dim.label, dim.size, dim.stride) == ("", 2, 2)
    assert messages(new, ARRAY, STAMP)[0].layout.dim[0].label == str(STAMP)


def test_trajectory(new: NewMessage) -> None:
    (message,) = messages(new, TRAJECTORY)
    assert message.joint_names == ["a", "b"] and len(message.points) == 1
    assert list(message.points[0].positions) == [1.5, -0.5] and not len(message.points[0].velocities)
    assert nanoseconds(message.points[0].time_from_start) == 50_000_000  # one control period
    assert nanoseconds(message.header.stamp) == 0  # begin at once
    assert nanoseconds(messages(new, TRAJECTORY, STAMP)[0].header.stamp) == STAMP
    (point,) = messages(new, VELOCITY)[0].points
    assert list(point.velocities) == [1.5, -0.5] and not len(point.positions)
    assert nanoseconds(point.time_from_start) == 1_250_000_000


def test_twists(new: NewMessage) -> None:
    (twist,) = messages(new, TWIST)
    assert (twist.linear.x, twist.linear.y, twist.angular.z) == (1.5, 0.0, -0.5)
    (stamped,) = messages(new, STAMPED)
    assert (stamped.twist.angular.z, stamped.twist.linear.y, stamped.twist.linear.x) == (1.5, -0.5, 0.0)
    assert nanoseconds(stamped.header.stamp) == NOW
    assert nanoseconds(messages(new, STAMPED, STAMP)[0].header.stamp) == STAMP
    assert (stamped.header.frame_id, messages(new, FRAMED)[0].header.frame_id) == ("", "base")


@pytest.mark.parametrize(("robot", "frame"), [("ur5_pick", "base"), ("xarm_pick", "link_base")])
def test_a_servo_is_told_along_which_axes_the_tip_moves(new: NewMessage, robot: str, frame: str) -> None:
    """MoveIt Servo does nothing with a twist without a frame."""
    move = load_spec(robot).actions[0]
    assert make_writer(move.command, move.size, PERIOD, new).messages[0].header.frame_id == frame


def test_a_twist_along_other_axes_is_refused(new: NewMessage) -> None:
    (message,) = messages(new, STAMPED)
    np.testing.assert_array_equal(reader(FRAMED).read("c", message)[0], NUMBERS)  # of none it is meant so
    message.header.frame_id = "tool0"
    np.testing.assert_array_equal(reader(STAMPED).read("c", message)[0], NUMBERS)
    with pytest.raises(CommandError, match="command arm: expected frame base, found tool0"):
        reader(FRAMED).read("c", message)


def test_one_number_per_topic(new: NewMessage) -> None:
    assert [m.data for m in messages(new, FLOATS)] == [1.5, -0.5]


@pytest.mark.parametrize("command", ALL, ids=lambda c: c.type.split("/")[-1])
def test_what_is_written_is_read(new: NewMessage, command: Command) -> None:
    ours = reader(command)
    for topic, message in zip(command.topics, messages(new, command, STAMP, command.to_message(NUMBERS)), strict=True):
        found, label = ours.read(topic, message)
    np.testing.assert_allclose(found, NUMBERS)
    assert label == (str(STAMP) if command.has_stamp else "")
    for topic, message in zip(command.topics, messages(new, command), strict=True):
        label = ours.read(topic, message)[1]
    assert label == (str(NOW) if command in (STAMPED, FRAMED) else "")


def test_joints_are_found_by_name_and_others_are_refused(new: NewMessage) -> None:
    (message,) = messages(new, TRAJECTORY)
    message.joint_names = ["b", "a"]
    np.testing.assert_array_equal(reader(TRAJECTORY).read("c", message)[0], [-0.5, 1.5])
    message.joint_names = ["b", "x"]
    with pytest.raises(CommandError, match=r"command arm: expected joints \['a', 'b'\], found \['b', 'x'\]"):
        reader(TRAJECTORY).read("c", message)
    message.joint_names = ["a", "b", "x"]  # that a real controller refuses, too
    with pytest.raises(CommandError, match="expected joints"):
        reader(TRAJECTORY).read("c", message)
    message.joint_names = ["a", "b"]
    for points in ([], [*message.points, *message.points]):
        message.points = points
        with pytest.raises(CommandError, match=f"expected one point, found {len(points)}"):
            reader(TRAJECTORY).read("c", message)


def test_what_cannot_be_obeyed_is_refused(new: NewMessage) -> None:
    (message,) = messages(new, ARRAY, numbers=np.array([1.0]))
    with pytest.raises(CommandError, match=r"command arm: expected 2 finite numbers, found \[1\.\]"):
        reader(ARRAY).read("c", message)
    (message,) = messages(new, VELOCITY, numbers=np.array([1.0]))
    with pytest.raises(CommandError, match="expected 2 finite numbers"):
        reader(VELOCITY).read("c", message)
    (message,) = messages(new, STAMPED, numbers=np.array([1.0, np.inf]))
    with pytest.raises(CommandError, match="expected 2 finite numbers"):
        reader(STAMPED).read("c", message)


def test_a_joint_that_has_not_spoken_is_neutral_and_known(new: NewMessage) -> None:
    good, bad = messages(new, FLOATS, numbers=np.array([1.0, np.nan]))
    ours = reader(FLOATS)
    with pytest.raises(CommandError, match="expected 2 finite numbers"):
        ours.read("b/c", bad)
    assert ours.silent() == ["a/c", "b/c"] and ours.command() is None
    np.testing.assert_array_equal(ours.read("a/c", good)[0], [1.0, 0.0])  # the refused one changed nothing
    assert ours.silent() == ["b/c"]


def test_joints_with_a_topic_each_age_on_their_own(new: NewMessage) -> None:
    left, right = messages(new, FLOATS, numbers=np.array([1.0, 0.5]))
    ours = reader(FLOATS)
    ours.read("a/c", left, now=1.0)
    ours.read("b/c", right, now=2.0)
    np.testing.assert_array_equal(ours.command(since=1.0), [1.0, 0.5])
    np.testing.assert_array_equal(ours.command(since=1.5), [0.0, 0.5])
    assert ours.silent(since=1.5) == ["a/c"] and ours.command(since=2.5) is None
    ours.forget()
    np.testing.assert_array_equal(ours.read("b/c", right)[0], [0.0, 0.5])


def test_one_commander_sends_all_kinds(ros: Ros) -> None:
    spec = parse_spec(
        TOY.replace(
            "reward:",
            """\
  - {name: arm, low: [-1, -1], high: [1, 1], neutral: [0.5, 0], command: {topic: arm/joint_trajectory,
     type: trajectory_msgs/msg/JointTrajectory, names: [shoulder, elbow], scale: [1, -1]}}
  - {name: base, low: [-1], high: [1], command: {topic: cmd_vel, type: geometry_msgs/msg/Twist, names: [linear.x]}}
  - {name: other_base, low: [-1], high: [1],
     command: {topic: stamped, type: geometry_msgs/msg/TwistStamped, names: [linear.x]}}
  - {name: legs, low: [-1, -1], high: [1, 1],
     command: {topic: "{name}/command", type: std_msgs/msg/Float64, names: [left, right]}}
reward:""",
            1,
        )
    )
    node = ros.add(ros.node("commander"))
    commander = Commander(node, spec)
    commander.open()
    kinds = {"motor/commands": Float64MultiArray, "arm/joint_trajectory": JointTrajectory, "cmd_vel": Twist}
    kinds |= {"stamped": TwistStamped, "left/command": Float64, "right/command": Float64}
    seen: dict[str, Any] = {}
    listener = ros.add(ros.node("listener"))
    for topic, kind in kinds.items():
        listener.create_subscription(kind, topic, lambda m, topic=topic: seen.update({topic: m}), 10)
    ros.until(lambda: len(seen) == len(kinds), "all neutral commands", lambda: commander.repeat(""))
    assert list(seen["arm/joint_trajectory"].points[0].positions) == [0.5, 0.0]
    commands = {"torque": [1.0, 0.5], "arm": [0.25, 0.75], "base": [0.5], "other_base": [-0.5], "legs": [0.1, 0.2]}
    commander.publish({name: np.array(x) for name, x in commands.items()})

    def shown() -> list[float]:
        arrays = [*seen["motor/commands"].data, *seen["arm/joint_trajectory"].points[0].positions]
        twists = [seen["cmd_vel"].linear.x, seen["stamped"].twist.linear.x]
        return [*arrays, *twists, seen["left/command"].data, seen["right/command"].data]

    ros.until(lambda: shown() == [1.0, 0.5, 0.25, -0.75, 0.5, -0.5, 0.1, 0.2], "all commands")
    assert nanoseconds(seen["stamped"].header.stamp) > 10**18  # our clock
    assert commander.unheard() == []
    commander.close()


def test_all_topics_are_given_back_in_the_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who deactivates has services to answer: three drivers that were killed may not take three times as long."""
    legs = '{topic: "{name}/command", type: std_msgs/msg/Float64, names: [left, right]}'
    spec, waits, now = parse_spec(TOY.replace("{topic: motor/commands}", legs, 1)), list[float](), 100.0

    class Unheard:
        def wait_for_all_acked(self, timeout: Duration) -> None:
            nonlocal now
            waits.append(timeout.nanoseconds / 1e9)
            now += waits[-1]

    monkeypatch.setattr("ros_nodes.commander.time.monotonic", lambda: now)
    node = SimpleNamespace(create_publisher=lambda *_, **__: Unheard(), destroy_publisher=lambda _: None)
    commander = Commander(node, spec)  # type: ignore[arg-type]
    commander.open()
    commander.close()
    assert waits == [pytest.approx(0.2), 0.0]


def test_two_actions_cannot_share_a_topic(ros: Ros) -> None:
    action = '  - {name: leg, low: [-1], high: [1], command: {topic: "{name}/commands", type: std_msgs/msg/Float64, '
    spec = parse_spec(TOY.replace("reward:", action + "names: [motor]}}\nreward:", 1))
    with pytest.raises(ValueError, match="two actions share the command topic motor/commands"):
        Commander(ros.add(ros.node("commander")), spec)
