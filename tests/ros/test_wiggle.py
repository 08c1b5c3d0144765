"""`robot-dreamer check --wiggle`: swapped and reversed joints are found by sensors and by a person; what halts it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray

from robot_dreamer.commands.check_wiggle import wiggle_findings
from robot_dreamer.preflight.findings import Finding, Weight
from robot_dreamer.preflight.motions import motions_of
from robot_dreamer.spec import RobotSpec, parse_spec
from ros_nodes.wiggle import wiggling
from tests.waiting import until

SPEC = """
name: wiggled
rate: 50.0
observations:
  - {name: arm, shape: [3], unit: rad, source: {topic: joint_states, type: sensor_msgs/msg/JointState,
     field: position, names: [a, b, c], max_age: 20.0}}
actions:
  - {name: goal, unit: rad, low: [-1, -1, -1], high: [1, 1, 1], command: {topic: arm/commands, names: [a, b, c]}}
reward: {expression: "-norm(arm)"}
episode: {max_steps: 100}
"""
START = np.array([0.3, -0.2, 0.5])
LEADER = """
watched:
  - {name: leader, shape: [3], unit: rad, source: {topic: leader/joint_states, type: sensor_msgs/msg/JointState,
     field: position, names: [a, b, c], max_age: 20.0}}
"""


class Arm:
    """Three joints behind a position controller: each goes where it is commanded, late; or another one does.

    Args:
      order: which command each joint obeys.
      signs: of the motors.
    """

    def __init__(self, ros: Any, order: Sequence[int] = (0, 1, 2), signs: Sequence[float] = (1, 1, 1)) -> None:
        self.node = ros.add(ros.node("arm"))
        self.place = START.copy()
        self.farthest = np.zeros(3)
        self.commands: list[list[float]] = []
        self.beats: list[bool] = []
        self.speaks = True
        self._order, self._signs = list(order), np.asarray(signs, float)
        self._goal = START.copy()
        self._publisher = self.node.create_publisher(JointState, "joint_states", 10)
        self.node.create_subscription(Float64MultiArray, "arm/commands", self._obey, 10)
        self.node.create_subscription(Bool, "policy/heartbeat", lambda m: self.beats.append(m.data), 10)
        self.node.create_timer(0.01, self._step)

    def _obey(self, message: Any) -> None:
        self.commands.append(list(message.data))
        moved = np.array(message.data) - START  # each motor counts from where it stood
        self._goal = START + self._signs * moved[self._order]

    def _step(self) -> None:
        self.place += 0.3 * (self._goal - self.place)
        self.farthest = np.maximum(self.farthest, np.abs(self.place - START))
        if self.speaks:
            message = JointState(name=["c", "b", "a"], position=self.place[::-1].tolist())
            message.header.stamp = self.node.get_clock().now().to_msg()
            self._publisher.publish(message)


@contextmanager
def nobody_presses() -> Iterator[threading.Event]:
    yield threading.Event()


def wiggled(
    ros: Any,
    ask: Callable[[str], str],
    watch: Any = nobody_presses,
    each: Callable[[], None] | None = None,
    max_age: float = 20.0,
    safety: str = "{}",
    more: str = "",
) -> list[Finding]:
    """The findings; the robot is spun meanwhile, on a busy machine with pauses: `max_age`."""
    found: list[Finding] = []
    text = SPEC.replace("max_age: 20.0", f"max_age: {max_age}") + f"safety: {safety}\n{more}"
    spec: RobotSpec = parse_spec(text)
    thread = threading.Thread(target=lambda: found.extend(wiggle_findings(spec, "/", False, ask, watch)))
    thread.start()
    ros.until(lambda: not thread.is_alive(), "the end of the wiggle", each)
    return found


def person(*answers: str) -> Callable[[str], str]:
    """Agrees, then gives these answers, one a joint."""
    left = ["move", *answers]
    return lambda text: left.pop(0)


def told(findings: list[Finding], weight: Weight) -> str:
    return "\n".join(f"{x.where}: {x.found}" for x in findings if x.weight is weight)


def test_swapped_and_reversed_joints_are_found_and_the_robot_ends_where_it_stood(ros: Any) -> None:
    arm = Arm(ros, order=(1, 0, 2), signs=(1, 1, -1))
    findings = wiggled(ros, person("b", "a", "n"))
    stops = told(findings, Weight.STOP)
    assert "wiggle a: swapped: b moved when a was commanded" in stops
    assert "wiggle b: swapped: a moved when b was commanded" in stops
    assert "wiggle c: reversed: it moved against its command" in stops
    assert "wiggle a: swapped: a person saw b move" in stops and "wiggle c: reversed: a person saw it" in stops
    np.testing.assert_allclose(arm.commands[0], START, atol=2e-3)  # without a leap
    np.testing.assert_allclose(arm.commands[-1], START, atol=1e-6)
    assert 0.05 < arm.farthest.max() <= 0.1 + 1e-6  # 5 % of the range, or 0.1 rad
    assert True in arm.beats and not arm.beats[-1]
    one_at_a_time = np.count_nonzero(np.abs(np.array(arm.commands) - START) > 1e-6, axis=1)
    assert one_at_a_time.max() == 1


def test_a_follower_is_not_led_to_where_the_leader_stands(ros: Any) -> None:
    arm = Arm(ros)
    publisher = arm.node.create_publisher(JointState, "leader/joint_states", 10)
    leader = JointState(name=["a", "b", "c"], position=[-0.9, 0.9, -0.9])

    def speak() -> None:
        leader.header.stamp = arm.node.get_clock().now().to_msg()
        publisher.publish(leader)

    arm.node.create_timer(0.01, speak)
    stops = told(wiggled(ros, person("q"), safety="{pose: {goal: arm}}", more=LEADER), Weight.STOP)
    assert stops == "" and arm.commands and arm.farthest.max() <= 0.1 + 1e-6
    np.testing.assert_allclose(arm.commands[0], START, atol=2e-3)


def test_a_motion_that_a_pause_of_the_robot_spoiled_is_made_again(ros: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arm = Arm(ros, signs=(-1, 1, 1))
    paused: list[float] = []

    def pause() -> None:
        if not paused and arm.commands and abs(arm.commands[-1][0] - START[0]) > 0.05:
            paused.append(time.monotonic())
            time.sleep(1.2)

    stops = told(wiggled(ros, person("n", "y", "y"), each=pause), Weight.STOP)
    assert paused and "amid the motion: once more" in capsys.readouterr().out
    assert "wiggle a: reversed: it moved against its command" in stops
    assert "wiggle b" not in stops and "wiggle c" not in stops


def test_a_button_halts_it_where_it_is_and_nothing_begins_while_it_is_pressed(ros: Any) -> None:
    arm = Arm(ros)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    button = ros.add(ros.node("button")).create_publisher(Bool, "e_stop", latched)

    def moving() -> bool:
        return bool(arm.commands) and abs(arm.commands[-1][0] - START[0]) > 0.02

    def press() -> None:
        if moving():
            button.publish(Bool(data=True))

    findings = wiggled(ros, person(), each=press)
    assert "wiggle: a was stopped: e_stop: the emergency stop is pressed" in told(findings, Weight.STOP)
    assert "not tried: b, c" in told(findings, Weight.WARNING)
    held = arm.commands[-1]
    assert arm.commands[-2] == held and 0.0 < abs(held[0] - START[0]) <= 0.1

    stops = told(wiggled(ros, person()), Weight.STOP)
    assert "e_stop: the emergency stop is pressed" in stops  # before it begins, or as soon as it is heard


@pytest.mark.parametrize("reaction", ["stop", "damp"])
def test_a_button_ends_the_heartbeat_and_with_damp_the_commands_also_while_a_person_is_asked(
    ros: Any, reaction: str
) -> None:
    arm = Arm(ros)
    button = ros.add(ros.node("button")).create_publisher(Bool, "e_stop", 1)
    pressed: list[int] = []

    def ask(text: str) -> str:
        if "was moved" not in text:
            return "move"
        button.publish(Bool(data=True))
        until(lambda: not arm.beats[-1])
        pressed.extend((len(arm.commands), len(arm.beats)))
        until(lambda: len(arm.beats) > pressed[1] + 5)  # it is not over: the person has not answered yet
        return "y"

    safety = f"{{reactions: {{e_stop: {reaction}}}}}"
    assert "e_stop: the emergency stop is pressed" in told(wiggled(ros, ask, safety=safety), Weight.STOP)
    since = arm.commands[pressed[0] + 1 :]  # one may have been under way
    assert not any(arm.beats[pressed[1] :]) and bool(since) == (reaction == "stop")
    assert all(command == since[0] for command in since)


@pytest.mark.parametrize("halt", ["key", "silence", "rival"])
def test_what_else_halts_it(ros: Any, halt: str) -> None:
    arm = Arm(ros)
    key = threading.Event()
    other: list[Any] = []

    @contextmanager
    def watch() -> Iterator[threading.Event]:
        yield key

    def act() -> None:
        if not arm.commands or abs(arm.commands[-1][0] - START[0]) < 0.02:
            return
        if halt == "key":
            key.set()
        elif halt == "silence":
            arm.speaks = False
        elif not other:
            other.append(ros.stranger().create_publisher(Float64MultiArray, "arm/commands", 10))

    stops = told(wiggled(ros, person(), watch, act, 0.5 if halt == "silence" else 20.0), Weight.STOP)
    words = {"key": "a key was pressed", "silence": "no fresh messages from", "rival": "another node commands"}
    assert f"wiggle: a was stopped: {words[halt]}" in stops


def test_nothing_moves_without_consent_or_beside_another(ros: Any) -> None:
    arm = Arm(ros)
    assert "nobody agreed" in told(wiggled(ros, lambda text: "y"), Weight.WARNING) and not arm.commands
    policy = ros.add(ros.node("policy"))
    assert "a node /policy is running" in told(wiggled(ros, person()), Weight.STOP) and not arm.commands
    ros.executor.remove_node(policy)
    ros.nodes.remove(policy)
    policy.destroy_node()
    arm.place[0] = arm._goal[0] = 1.5
    stops = told(wiggled(ros, person()), Weight.STOP)
    assert "a stands at 1.5 rad, outside of action goal's -1 to 1" in stops and not arm.commands
    ros.stranger().create_publisher(Float64MultiArray, "arm/commands", 10)
    assert "another node commands this robot" in told(wiggled(ros, person()), Weight.STOP) and not arm.commands


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_at_rest_and_a_second_one_does_not_hinder_that(ros: Any, number: signal.Signals) -> None:
    arm = Arm(ros)
    slow = parse_spec(SPEC.replace("high: [1, 1, 1],", "high: [1, 1, 1], max_rate: [0.1, 0.1, 0.1],"))
    over = threading.Event()

    def close_the_terminal() -> None:
        ros.until(lambda: arm.commands and abs(arm.commands[-1][0] - START[0]) > 0.03, "the motion")
        os.kill(os.getpid(), number)
        sent = len(arm.commands)
        ros.until(lambda: len(arm.commands) > sent + 2, "the way back")
        os.kill(os.getpid(), number)
        ros.until(over.is_set, "the end")

    before = signal.signal(number, signal.default_int_handler)  # also where the tests run under nohup
    thread = threading.Thread(target=close_the_terminal)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt), wiggling(slow, "/", sim_time=False) as wiggler:
            wiggler.start()
            wiggler.move(motions_of(slow)[0], lambda: False)
    finally:
        over.set()
        thread.join()
        signal.signal(number, before)
    ros.until(lambda: arm.beats and not arm.beats[-1], "the last heartbeat")
    np.testing.assert_allclose(arm.commands[-1], START, atol=2e-3)
