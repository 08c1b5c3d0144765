"""The emergency stop is heard: every press, from every button, whatever the node is doing, and its absence too."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy")

from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import Bool, Int8

from robot_dreamer.onboard.buttons import PRESSED
from ros_nodes.e_stop import EStop
from ros_nodes.graph import publishers
from tests.ros.button import LATCHED, MATCHES, RELIABLE, WAYS
from tests.ros.conftest import Ros
from tests.ros.stage import Stage
from tests.ros.test_guard import faulted, goes_on
from tests.waiting import until

Make = Callable[..., Stage]


def reason(stage: Stage) -> str:
    return str(stage.controller.guard.fault.reason)


def known(stage: Stage) -> None:
    buttons = stage.components.e_stop.buttons._buttons
    stage.until(lambda: any(b.name == "/button" for b in list(buttons.values())), "its discovery")


class Button:
    """The process of tests/ros/button.py."""

    def __init__(self, way: str) -> None:
        command = [sys.executable, "-m", "tests.ros.button", way]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=dict(os.environ)
        )

    def expect(self, line: str) -> None:
        assert self._process.stdout is not None and self._process.stdout.readline().strip() == line

    def says(self, words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{words}\n")
        self.expect(words)

    def go(self) -> None:
        self._process.communicate(timeout=30)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def button(ros_domain: int) -> Iterator[Callable[[str], Button]]:
    buttons: list[Button] = []

    def begin(way: str) -> Button:
        buttons.append(Button(way))
        return buttons[-1]

    yield begin
    for each in buttons:
        each.kill()


@pytest.mark.parametrize("way", WAYS)
def test_every_press_latches_however_short_and_however_busy_the_node(make: Make, button: Any, way: str) -> None:
    """True and false back to back, from another process, while the node's callbacks stand still."""
    stage = make(automatic=False)
    finger, buttons, guard = button(way), stage.components.e_stop.buttons, stage.controller.guard
    finger.expect("ready")
    known(stage)  # on both sides: what is sent by best effort before is lost
    for n in range(1, 21):
        finger.says("tf")
        until(lambda n=n: guard.fault and not buttons.pressed and buttons.presses >= n, f"press {n}")  # nobody spins it
        assert reason(stage) == PRESSED
        guard.clear()
    assert guard.faults["e_stop"] == 20
    finger.says("tf" * 40)  # fewer than the publisher keeps
    stage.until(lambda: buttons.presses == 60, "all of them")


def test_a_press_while_the_nodes_thread_waits_latches(make: Make) -> None:
    """Whatever callback takes long: a service, a transition, a report."""
    stage = make(max_steps=10_000)
    finger = stage.ros.stranger().create_publisher(Bool, "e_stop", RELIABLE)
    stage.until(lambda: stage.controller.steps and finger.get_subscription_count() == MATCHES["reliable"], "an episode")

    def slow() -> None:
        finger.publish(Bool(data=True))
        finger.publish(Bool(data=False))
        until(lambda: stage.controller.guard.fault is not None, "a fault")

    stage.robot.create_timer(0.01, slow)  # in the executor that spins the node
    assert faulted(stage, "e_stop") == PRESSED


@pytest.mark.parametrize("qos", [RELIABLE, LATCHED], ids=["reliable", "latched"])
def test_a_button_that_is_down_is_not_released_by_another(make: Make, qos: Any) -> None:
    stage = make(automatic=False)
    left, right = (stage.ros.stranger().create_publisher(Bool, "e_stop", qos) for _ in range(2))
    stage.until(lambda: left.get_subscription_count() >= 2 and right.get_subscription_count() >= 2, "to be heard")
    buttons = stage.components.e_stop.buttons
    for words in itertools.permutations([(left, True), (right, False)]):
        presses = buttons.presses
        for finger, pressed in words:
            finger.publish(Bool(data=pressed))
        stage.until(lambda: buttons.pressed, "the press")
        stage.ros.spin(0.2)
        assert buttons.pressed and stage.call("policy/clear_fault").message == PRESSED
        left.publish(Bool(data=False))
        stage.until(lambda: not buttons.pressed, "the release")
        assert stage.call("policy/clear_fault").success and buttons.presses == presses + 1


def test_a_button_that_died_pressed_must_be_forgotten_by_a_person(make: Make, button: Any) -> None:
    stage = make(automatic=False)
    finger = button("latched")
    finger.expect("ready")
    finger.says("t")
    stage.until(lambda: stage.components.e_stop.pressed, "the press")
    known(stage)
    assert not stage.call("policy/forget_e_stop").success  # it is there
    finger.go()
    stage.until(lambda: "is gone (/button)" in stage.components.e_stop.buttons.problem(), "its end")
    answer = stage.call("policy/clear_fault")
    assert not answer.success and "then call ~/forget_e_stop" in answer.message
    assert stage.call("policy/forget_e_stop").message == "forgotten: /button"
    assert stage.call("policy/clear_fault").success


@pytest.mark.parametrize("word", ["f", ""], ids=["spoke once", "never spoke"])
def test_a_button_that_is_gone_latches_although_it_may_be_silent(make: Make, button: Any, word: str) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 1, "an episode")
    finger = button("reliable")
    finger.expect("ready")
    known(stage)
    if word:
        finger.says(word)
        stage.until(lambda: any(b.spoke for b in stage.components.e_stop.buttons._buttons.values()), "its word")
    else:
        stage.ros.spin(1.1, stage.poke)  # one that is there
    assert stage.controller.guard.fault is None
    finger.go()
    assert faulted(stage, "e_stop") == "a button is gone: node /button no longer publishes topic e_stop"
    goes_on(stage)


def test_a_button_of_another_type_fails_configure(make: Make, ros: Ros, capfd: pytest.CaptureFixture[str]) -> None:
    stage = make(automatic=False)
    stage.node.trigger_deactivate()
    stage.node.trigger_cleanup()
    other = ros.stranger()
    publisher = other.create_publisher(Int8, "e_stop", 1)
    ros.until(lambda: [x for x in publishers(stage.node, "e_stop") if x.node], "its discovery")
    assert stage.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    text = "topic /e_stop: expected std_msgs/msg/Bool, found std_msgs/msg/Int8 (node /stranger)"
    assert f"the emergency stop cannot be heard: {text}" in capfd.readouterr().err
    other.destroy_publisher(publisher)
    ros.until(lambda: not stage.node.get_publishers_info_by_topic("e_stop"), "its end")
    assert stage.node.trigger_configure() == TransitionCallbackReturn.SUCCESS


def test_a_button_of_another_type_that_comes_later_latches(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 1, "an episode")
    other = stage.ros.stranger()
    publisher = other.create_publisher(Int8, "e_stop", 1)
    assert "expected std_msgs/msg/Bool, found std_msgs/msg/Int8" in faulted(stage, "e_stop")
    assert "cannot be heard" in stage.call("policy/clear_fault").message
    other.destroy_publisher(publisher)
    stage.until(lambda: not stage.components.e_stop.buttons.problem(), "its end")
    goes_on(stage)


def test_a_press_before_the_node_is_configured_latches_when_it_is(make: Make, button: Any) -> None:
    stage = make(automatic=False)
    stage.node.trigger_deactivate()
    stage.node.trigger_cleanup()
    e_stop = stage.node._e_stop
    finger = button("reliable")
    finger.expect("ready")
    presses = e_stop.buttons.presses
    finger.says("tf")
    stage.ros.until(lambda: e_stop.buttons.presses > presses and not e_stop.pressed, "to be heard")
    assert stage.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert reason(stage) == PRESSED


def test_what_a_callback_raises_latches_and_the_next_press_is_heard(
    ros: Ros, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from robot_dreamer.onboard.guard import Guard
    from tests.onboard_models import toy_spec

    e_stop, guard = EStop(ros.add(ros.node("robot")), 0.0), Guard(toy_spec())
    hear = e_stop.buttons.hear
    wrong = [ZeroDivisionError("a bug")]
    monkeypatch.setattr(e_stop.buttons, "hear", lambda *words: hear(*words) if not wrong else _raise(wrong.pop()))
    e_stop.buttons.attach(guard)
    e_stop.companion.start()
    finger = ros.stranger().create_publisher(Bool, "e_stop", 10)
    ros.until(lambda: finger.get_subscription_count() >= 2, "to be heard")
    finger.publish(Bool(data=False))
    ros.until(lambda: guard.fault, "a fault")
    assert "what listens to the emergency stop failed: ZeroDivisionError: a bug" in str(guard.clear())
    finger.publish(Bool(data=True))
    ros.until(lambda: guard.fault, "another one")
    assert str(guard.fault) == f"e_stop: {PRESSED}" and "Traceback" in capfd.readouterr().err
    e_stop.destroy()


def _raise(error: Exception) -> None:
    raise error
