"""Whatever a message holds, it costs that message and not the node."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension
from std_srvs.srv import SetBool, Trigger

from tests.onboard_models import TOY
from tests.ros.fake_robot import joint_state
from tests.ros.stage import Stage

Make = Callable[..., Stage]
FEET = (
    "{name: feet, shape: [1], source: {topic: feet, type: std_msgs/msg/Float64MultiArray, field: data, names: [left]}}"
)
WITH_FEET = TOY.replace("actions:", f"  - {FEET}\nactions:")


def with_feet(make: Make, label: Callable[[int], str]) -> Stage:
    stage = make(spec=WITH_FEET, max_steps=10_000, max_age=1.0)
    feet = stage.robot.create_publisher(Float64MultiArray, "feet", 1)

    def step(stamp: int) -> None:
        message = Float64MultiArray(data=[float(stamp % 7)])
        message.layout.dim.append(MultiArrayDimension(label=label(stamp)))
        feet.publish(message)

    stage.also.append(step)
    return stage


@pytest.mark.parametrize("label", ["", "joints", "0", "7", "٣", "9" * 5000, "-1"])
def test_a_label_that_is_no_time_means_no_stamp(make: Make, label: str) -> None:
    stage = with_feet(make, lambda stamp: label)
    stage.until(lambda: stage.controller.steps > 75, "steps for longer than max_age")
    assert stage.controller.abandoned == 0 and not stage.node.failed
    assert stage.components.observer.counters()["unstamped feet"] > 20


def test_a_label_that_is_a_time_of_another_clock_is_a_stamp(make: Make) -> None:
    stage = with_feet(make, str)
    stage.until(lambda: stage.controller.steps > 60, "steps")
    assert stage.controller.abandoned == 0 and "unstamped feet" not in stage.components.observer.counters()


class Nonsense:
    """Nothing of it can be read."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


def test_each_callback_of_the_node_survives_nonsense_and_counts_it(make: Make) -> None:
    stage = make()
    node = stage.node
    for subscription in node.subscriptions:
        subscription.callback(Nonsense())
        assert node.failed[next(t for t in node.failed if t.strip("~") in subscription.topic_name)] == 1
    for service in node.services:
        if service.srv_type in (Trigger, SetBool):
            response = service.callback(None, service.srv_type.Response())
            assert isinstance(response, service.srv_type.Response)
    assert len(list(node.subscriptions)) >= 3
    stage.until(lambda: stage.controller.steps > 5, "steps all the same")


@pytest.mark.parametrize("topic", ["joint_states", "task"])
def test_a_message_that_makes_the_receiver_fail_costs_itself_only(make: Make, topic: str) -> None:
    stage = make(max_steps=10_000)
    receive = stage.components.observer.receive
    failing = {topic: 3}

    def fail(name: str, message: Any) -> None:
        if failing.get(name, 0) and stage.controller.steps > 5:
            failing[name] -= 1
            raise ZeroDivisionError("three times")
        receive(name, message)

    stage.components.observer.receive = fail
    stage.until(lambda: not failing[topic], "the failures")
    steps = stage.controller.steps
    stage.until(lambda: stage.controller.steps > steps + 20, "steps all the same")
    assert stage.node.failed == {topic: 3} and not stage.node.failure
    assert stage.node.last_failure == "ZeroDivisionError: three times"


def test_a_timer_that_fails_is_called_again(make: Make) -> None:
    stage = make()
    poll = stage.components.resetter.poll
    left = [2]

    def fail() -> None:
        if left[0]:
            left[0] -= 1
            raise KeyError("poll")
        poll()

    stage.components.resetter.poll = fail
    stage.until(lambda: stage.node.failed["timer look"] == 2, "the failures")
    stage.until(lambda: stage.controller.steps > 5, "steps all the same")


def test_a_service_that_fails_says_so(make: Make) -> None:
    stage = make()
    stage.components.states.want = lambda state: 1 / 0
    answer = stage.call("policy/stand")
    assert not answer.success and "~/stand failed: ZeroDivisionError" in answer.message


def test_nonsense_on_teleop_costs_itself_only(make: Make) -> None:
    stage = make()
    publisher = stage.robot.create_publisher(Float64MultiArray, "policy/teleop/motor/commands", 10)
    endless = Float64MultiArray(data=[math.nan] * 100_000)
    endless.layout.dim.append(MultiArrayDimension(label="9" * 100_000))
    stage.until(lambda: publisher.get_subscription_count(), "the node")
    publisher.publish(endless)
    publisher.publish(Float64MultiArray())
    stage.until(lambda: stage.components.takeover.refused >= 1, "a refusal")
    steps = stage.controller.steps
    stage.until(lambda: stage.controller.steps > steps + 5, "steps all the same")


def test_without_a_learner_a_reward_of_nan_stops_nobody(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.robot.reward = dict.fromkeys(range(100_000), math.nan)
    stage.until(lambda: stage.controller.steps > 30, "steps")
    assert not stage.controller.refused and {row.reward for row in stage.rows} == {0.0}
    assert stage.components.observer.judge.unused > 10


@pytest.mark.parametrize("at", range(4))
def test_a_terminal_pulse_of_one_message_in_four_ends_the_episode(make: Make, at: int) -> None:
    stage = make(max_steps=10_000)
    task = stage.robot.create_publisher(JointState, "task", 10)
    stage.until(lambda: task.get_subscription_count(), "the node")
    sent: list[int] = []

    def more(stamp: int) -> None:
        if len(stage.rows) > 5 and not sent:
            for n in range(4):
                task.publish(joint_state(stamp + n, ["reward", "terminal"], [100.0, float(n == at)]))
            sent.append(stamp)

    stage.also.append(more)
    stage.until(lambda: any(row.is_terminal for row in stage.rows), "the end")
    (last,) = [row for row in stage.rows if row.is_last]
    assert last.is_terminal and last.reward >= 100.0
