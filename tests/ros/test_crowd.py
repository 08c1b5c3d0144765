"""Two nodes that publish one sensor are noticed: no episode begins, the running one is cut, both are named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from ros_nodes.crowd import Crowd
from ros_nodes.health import complain
from ros_nodes.phase import Phase
from tests.ros.conftest import Ros
from tests.ros.fake_robot import joint_state
from tests.ros.stage import Stage

Make = Callable[..., Stage]


@pytest.mark.parametrize("topic", ["joint_states", "task"])
@pytest.mark.parametrize("shift", [0, 1_000_000])
def test_a_second_publisher_of_a_sensor_ends_and_prevents_episodes(make: Make, topic: str, shift: int) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps > 5, "an episode")
    other = stage.ros.stranger()
    zeros = other.create_publisher(JointState, topic, 1)
    names = ["hinge"] if topic == "joint_states" else ["reward", "terminal"]
    stage.also.append(lambda stamp: zeros.publish(joint_state(stamp + shift, names, [0.0] * len(names), [0.0])))
    stage.until(lambda: stage.components.runner.phase is Phase.WAITING and not stage.controller.running, "the cut")
    words = f"{topic} (expected one publisher, found /fake_robot, /stranger)"
    stage.until(lambda: words in stage.components.observer.missing(), "both names")
    stage.until(lambda: "/fake_robot, /stranger" in complain(stage.node, stage.components), "the complaint")
    steps = stage.controller.steps
    stage.ros.spin(0.5, stage.poke)
    assert stage.controller.steps == steps
    stage.also.clear()
    other.destroy_publisher(zeros)
    stage.until(lambda: stage.controller.steps > steps + 5, "an episode, when it is gone")


def test_a_second_server_of_the_reset_is_named(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps > 5, "an episode")
    other = stage.ros.stranger()
    service = other.create_service(Trigger, "reset", lambda _, response: response)
    stage.until(lambda: stage.components.observer.contested, "the second server")
    assert stage.components.observer.contested == {
        "reset": "expected one node that offers it, found /fake_robot, /stranger"
    }
    other.destroy_service(service)
    stage.until(lambda: not stage.components.observer.contested, "its end")


def test_a_driver_that_was_killed_and_came_back_is_one_until_the_middleware_must_have_forgotten_it(ros: Ros) -> None:
    nodes: list[Any] = [ros.add(ros.node("driver")), ros.add(ros.node("listener"))]
    publishers = [nodes[0].create_publisher(JointState, "joint_states", 1) for _ in range(2)]
    now = [0.0]
    crowd = Crowd(nodes[1], ["joint_states"], "", lambda: now[0])
    ros.until(lambda: len(nodes[1].get_publishers_info_by_topic("joint_states")) == 2, "both")
    assert crowd.look() == {}
    now[0] = 29.0
    assert crowd.look() == {}
    now[0] = 31.0
    assert crowd.look() == {"joint_states": "expected one publisher, found 2 of the name /driver"}
    nodes[0].destroy_publisher(publishers[1])
    ros.until(lambda: len(nodes[1].get_publishers_info_by_topic("joint_states")) == 1, "one")
    now[0] = 32.0
    assert crowd.look() == {}
