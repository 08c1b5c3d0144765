"""Whose commands reach whom: nobody acts for nobody, and no two nodes command one robot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import TwistStamped
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, Float64MultiArray, Int8

from ros_nodes.health import complain
from tests.onboard_models import TOY
from tests.ros.fake_robot import joint_state
from tests.ros.stage import Stage, make_node

Make = Callable[..., Stage]
ARRAY = "std_msgs/msg/Float64MultiArray"
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def wait_deaf(stage: Stage) -> None:
    stage.until(lambda: stage.components.runner.unheard(), "the middleware to know it")


def complaint(stage: Stage) -> str:
    return complain(stage.node, stage.components)


def test_losing_the_listener_cuts_the_episode_and_is_said(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps > 5, "an episode")
    stage.robot.deafen()
    wait_deaf(stage)
    rows, steps = len(stage.rows), stage.controller.steps
    stage.until(lambda: complaint(stage), "the complaint")
    assert f"nobody subscribes to /motor/commands (expected {ARRAY})" in complaint(stage)
    assert not stage.controller.running
    assert len(stage.rows) == rows and stage.controller.steps == steps
    stage.robot.listen()
    stage.until(lambda: stage.controller.steps > steps + 5, "an episode, when somebody listens again")
    assert stage.rows[rows].is_first and not complaint(stage)


def test_no_row_is_recorded_whose_command_nobody_got(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps > 5, "an episode")
    runner = stage.components.runner
    send, heard = runner._send, runner.unheard
    lost: list[int] = []

    def lose(commands: Any) -> None:
        """The listener goes between the tick's beginning and its command."""
        if stage.controller.running:
            lost.append(stage.controller.steps)
            runner.unheard = lambda: ["motor/commands"]
        send(commands)

    runner._send = lose
    stage.until(lambda: lost and not stage.controller.running, "the cut")
    assert stage.controller.steps == lost[0]
    runner._send, runner.unheard = send, heard


@pytest.mark.parametrize(
    ("kind", "qos", "words"),
    [
        (TwistStamped, 10, f"topic /motor/commands: expected {ARRAY}, found geometry_msgs/msg/TwistStamped"),
        (Float64MultiArray, LATCHED, "topic /motor/commands: expected a subscriber that takes reliable, volatile"),
    ],
    ids=["type", "qos"],
)
def test_a_listener_of_another_kind_is_none(make: Make, kind: type, qos: Any, words: str) -> None:
    stage = make(max_steps=10_000, deaf=True)
    other = stage.ros.stranger()
    other.create_subscription(kind, "motor/commands", lambda _: None, qos)
    stage.until(lambda: words in complaint(stage) and "node /stranger" in complaint(stage), "the complaint")
    assert stage.rows == [] and stage.controller.steps == 0 and stage.sent == []
    stage.robot.listen()
    stage.until(lambda: stage.rows, "an episode, when the right one is there")


def test_every_topic_of_an_action_needs_a_listener(make: Make) -> None:
    legs = '{topic: "{name}/command", type: std_msgs/msg/Float64, names: [left, right]}'
    stage = make(max_steps=10_000, spec=TOY.replace("{topic: motor/commands}", legs), deaf=True)
    stage.robot.create_subscription(Float64, "left/command", lambda _: None, 10)
    stage.until(lambda: "nobody subscribes to /right/command" in complaint(stage), "the complaint")
    assert "/left/command" not in complaint(stage) and stage.rows == []
    stage.robot.create_subscription(Float64, "right/command", lambda _: None, 10)
    stage.until(lambda: stage.rows, "an episode")


@pytest.mark.parametrize("latched", [False, True])
def test_whoever_listens_again_is_led_from_where_the_robot_is(make: Make, latched: bool) -> None:
    arm = "{topic: arm, type: sensor_msgs/msg/JointState, field: position, names: [motor, other]}"
    spec = TOY.replace("observations:", f"observations:\n  - {{name: arm, shape: [2], range: [-2, 2], source: {arm}}}")
    spec += "safety: {pose: {torque: arm}, ramp_seconds: 3, stale_seconds: 0, missed_deadlines: 0}\n"
    stage = make(max_steps=10_000, spec=spec)
    joints = stage.robot.create_publisher(JointState, "arm", 1)
    stage.also.append(lambda stamp: joints.publish(joint_state(stamp, ["motor", "other"], [1.5, -1.5])))
    stage.until(lambda: stage.controller.steps > 2, "an episode")
    stage.robot.deafen()
    wait_deaf(stage)
    stage.silent()  # the ramp, which takes 3 s, does not go on unheard
    if latched:
        stage.controller.guard.latch("link", "test")
    sent = len(stage.sent)
    stage.robot.listen()
    stage.until(lambda: len(stage.sent) > sent, "commands")
    low, high = min(stage.sent[sent]), max(stage.sent[sent])
    assert low < -1.3 and high > 1.3  # the ramp begins where the robot is


def test_a_required_heartbeat_needs_a_listener(make: Make) -> None:
    stage = make(max_steps=10_000, heartbeat_required=True)
    stage.until(lambda: complaint(stage), "the complaint")
    assert "nobody subscribes to /policy/heartbeat (expected std_msgs/msg/Bool)" in complaint(stage)
    assert stage.rows == []
    stage.watch(Bool, "policy/heartbeat")
    stage.until(lambda: stage.rows, "an episode")


@pytest.mark.parametrize("topic", ["policy/heartbeat", "policy/teleop/motor/commands"])
def test_another_type_at_the_heartbeat_or_the_take_over_is_said(make: Make, topic: str) -> None:
    stage = make(max_steps=10_000)
    other = stage.ros.stranger()
    if topic.endswith("heartbeat"):
        other.create_subscription(Int8, topic, lambda _: None, 1)
    else:
        other.create_publisher(Int8, topic, 1)
    stage.until(lambda: "found std_msgs/msg/Int8 (node /stranger)" in complaint(stage), "the complaint")
    assert f"topic /{topic}: expected std_msgs/msg/" in complaint(stage)


@pytest.mark.parametrize("topic", ["motor/commands", "policy/heartbeat"])
def test_a_second_publisher_latches_and_cannot_be_cleared_away(make: Make, topic: str) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps > 5, "an episode")
    other = stage.ros.stranger()
    kind = Bool if topic.endswith("heartbeat") else Float64MultiArray
    rival = other.create_publisher(kind, topic, 1)
    stage.until(lambda: stage.controller.guard.fault, "the fault")
    fault = stage.controller.guard.fault
    words = f"another node commands this robot: /{topic} (expected this node alone, found /stranger)"
    assert fault.rule == "contested" and f"another node commands this robot: /{topic} (" in fault.reason
    stage.until(lambda: words in complaint(stage), "its name")
    answer = stage.call("policy/clear_fault")
    assert not answer.success and answer.message == words
    other.destroy_publisher(rival)
    stage.until(lambda: not stage.components.outlets.rivals(), "its end")
    assert stage.call("policy/clear_fault").success
    steps = stage.controller.steps
    stage.until(lambda: stage.controller.steps > steps + 5, "an episode")


def test_whoever_comes_second_does_not_activate_and_names_the_first(
    make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps > 5, "an episode")
    second = make_node(stage.ros, tmp_path)
    assert second.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert second.trigger_activate() == TransitionCallbackReturn.FAILURE
    words = (
        "another node commands this robot: /motor/commands (expected this node alone, found another node named /policy)"
    )
    assert words in capfd.readouterr().err
    assert stage.controller.guard.fault is None
    stage.node.trigger_deactivate()  # the first one gives the robot back
    stage.ros.until(
        lambda: second.trigger_activate() == TransitionCallbackReturn.SUCCESS, "the second one's turn", stage.poke
    )
    second.trigger_shutdown()


def test_two_that_come_at_once_both_stop(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage = make(max_steps=10_000)
    second = make_node(stage.ros, tmp_path)
    assert second.trigger_configure() == TransitionCallbackReturn.SUCCESS
    monkeypatch.setattr(second.components.outlets, "require_free", lambda: None)  # it looked before the first claimed
    assert second.trigger_activate() == TransitionCallbackReturn.SUCCESS
    nodes = [stage.node, second]
    stage.until(lambda: all(n.components.controller.guard.fault for n in nodes), "two faults")
    assert {n.components.controller.guard.fault.rule for n in nodes} == {"contested"}
    second.trigger_shutdown()
