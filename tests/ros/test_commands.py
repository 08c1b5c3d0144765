"""Commands as messages: what an outlet says, and that the simulated robot understands it as meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Twist, TwistStamped
from std_msgs.msg import Float64, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from robot_dreamer.spec import ActionSpec, Command, parse_spec
from ros_nodes.commander import Commander
from ros_nodes.inlets import CommandError, Inlet
from ros_nodes.outlets import make_outlet
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
FLOATS = Command("{name}/c", "std_msgs/msg/Float64", ("a", "b"))
ALL = [ARRAY, SCALED, TRAJECTORY, VELOCITY, TWIST, STAMPED, FLOATS]


def messages(command: Command, answers: int = 0, numbers: np.ndarray = NUMBERS) -> list[Any]:
    outlet = make_outlet(command, 2, PERIOD)
    outlet.fill(np.array([7.0, 7.0]), 3, 4)  # nothing of the tick before may remain
    outlet.fill(numbers, answers, NOW)
    return outlet.messages


def inlet(command: Command) -> Inlet:
    return Inlet(ActionSpec("arm", command, low=(-2.0, -2.0), high=(2.0, 2.0)))


def nanoseconds(time: Any) -> int:
    return time.sec * 10**9 + time.nanosec


def test_array() -> None:
    (message,) = messages(ARRAY)
    assert list(message.data) == [1.5, -0.5]
    dim = message.layout.dim[0]
    assert (dim.label, dim.size, dim.stride) == ("", 2, 2)
    assert messages(ARRAY, STAMP)[0].layout.dim[0].label == str(STAMP)


def test_trajectory() -> None:
    (message,) = messages(TRAJECTORY)
    assert message.joint_names == ["a", "b"] and len(message.points) == 1
    assert list(message.points[0].positions) == [1.5, -0.5] and not message.points[0].velocities
    assert nanoseconds(message.points[0].time_from_start) == 50_000_000  # one control period
    assert nanoseconds(message.header.stamp) == 0  # begin at once
    assert nanoseconds(messages(TRAJECTORY, STAMP)[0].header.stamp) == STAMP
    (point,) = messages(VELOCITY)[0].points
    assert list(point.velocities) == [1.5, -0.5] and not point.positions
    assert nanoseconds(point.time_from_start) == 1_250_000_000


def test_twists() -> None:
    (twist,) = messages(TWIST)
    assert (twist.linear.x, twist.linear.y, twist.angular.z) == (1.5, 0.0, -0.5)
    (stamped,) = messages(STAMPED)
    assert (stamped.twist.angular.z, stamped.twist.linear.y, stamped.twist.linear.x) == (1.5, -0.5, 0.0)
    assert nanoseconds(stamped.header.stamp) == NOW
    assert nanoseconds(messages(STAMPED, STAMP)[0].header.stamp) == STAMP


def test_one_number_per_topic() -> None:
    assert [m.data for m in messages(FLOATS)] == [1.5, -0.5]


@pytest.mark.parametrize("command", ALL, ids=lambda c: c.type.split("/")[-1])
def test_the_simulated_robot_understands(command: Command) -> None:
    reader = inlet(command)
    for topic, message in zip(command.topics, messages(command, STAMP, command.to_message(NUMBERS)), strict=True):
        found, label = reader.read(topic, message)
    np.testing.assert_allclose(found, NUMBERS)
    assert label == (str(STAMP) if command.has_stamp else "")
    for topic, message in zip(command.topics, messages(command), strict=True):
        label = reader.read(topic, message)[1]
    assert label == (str(NOW) if command is STAMPED else "")


def test_joints_are_found_by_name_and_others_are_refused() -> None:
    (message,) = messages(TRAJECTORY)
    message.joint_names = ["b", "a"]
    np.testing.assert_array_equal(inlet(TRAJECTORY).read("c", message)[0], [-0.5, 1.5])
    message.joint_names = ["b", "x"]
    with pytest.raises(CommandError, match=r"command arm: expected joints \['a', 'b'\], found \['b', 'x'\]"):
        inlet(TRAJECTORY).read("c", message)
    message.joint_names, message.points = ["a", "b"], []
    with pytest.raises(CommandError, match="expected one point, found 0"):
        inlet(TRAJECTORY).read("c", message)


def test_what_cannot_be_obeyed_is_refused() -> None:
    with pytest.raises(CommandError, match=r"command arm: expected 2 finite numbers, found \[1\.\]"):
        inlet(ARRAY).read("c", Float64MultiArray(data=[1.0]))
    (message,) = messages(VELOCITY)
    message.points[0].velocities = [1.0]
    with pytest.raises(CommandError, match="expected 2 finite numbers"):
        inlet(VELOCITY).read("c", message)
    reader = inlet(FLOATS)
    with pytest.raises(CommandError, match="expected 2 finite numbers"):
        reader.read("b/c", Float64(data=float("nan")))
    np.testing.assert_array_equal(reader.read("a/c", Float64(data=1.0))[0], [1.0, 0.0])  # that one changed nothing


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
    commander.destroy()


def test_two_actions_cannot_share_a_topic(ros: Ros) -> None:
    action = '  - {name: leg, low: [-1], high: [1], command: {topic: "{name}/commands", type: std_msgs/msg/Float64, '
    spec = parse_spec(TOY.replace("reward:", action + "names: [motor]}}\nreward:", 1))
    with pytest.raises(ValueError, match="two actions share the command topic motor/commands"):
        Commander(ros.add(ros.node("commander")), spec)
