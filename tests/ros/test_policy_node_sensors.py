"""Sensors of the policy node: wrong types, frozen stamps, messages from before a reset, large pictures."""

from __future__ import annotations

import array
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Twist
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import Image, Imu, JointState

from ros_nodes.health import complain
from ros_nodes.phase import Phase
from tests.onboard_models import TOY
from tests.ros.conftest import Ros
from tests.ros.fake_robot import PERIOD, FakeRobot, joint_state
from tests.ros.stage import Stage, make_node


def test_a_topic_of_the_wrong_type_fails_configure(ros: Ros, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = ros.stranger()
    publisher = other.create_publisher(Imu, "joint_states", 1)
    node = make_node(ros, tmp_path)
    ros.until(lambda: node.get_publishers_info_by_topic("joint_states"), "the publisher")
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.components is None
    expected = "wrong type of topic /joint_states: expected sensor_msgs/msg/JointState, found sensor_msgs/msg/Imu"
    assert expected in capfd.readouterr().err
    other.destroy_publisher(publisher)
    good = other.create_publisher(JointState, "joint_states", 1)
    ros.until(
        lambda: (
            [p.topic_type for p in node.get_publishers_info_by_topic("joint_states")] == ["sensor_msgs/msg/JointState"]
        ),
        "the driver to be mended",
    )
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    node.trigger_shutdown()
    other.destroy_publisher(good)


def test_a_frozen_stamp_is_silence(make: Callable[..., Stage]) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 2, "an episode")
    stage.robot.tick += 1
    stage.ros.until(
        lambda: complain(stage.node, stage.components), "a complaint", each=stage.robot.publish
    )  # again and again, with one stamp
    assert "joint_states (its stamp has stood still for " in complain(stage.node, stage.components)
    assert stage.components.runner.phase is Phase.WAITING and not stage.controller.running
    assert stage.components.observer.counters()["repeated joint_states"] > 10


def test_messages_from_before_a_reset_begin_no_episode(make: Callable[..., Stage]) -> None:
    stage = make(max_steps=10_000)
    stage.robot.announces = True
    stage.until(lambda: stage.controller.steps >= 2, "an episode")
    stage.robot.terminal = dict.fromkeys(range(stage.robot.tick, stage.robot.tick + 100_000), True)
    stage.until(lambda: stage.rows[-1].is_terminal, "its end")
    stage.robot.terminal = {}
    resets = stage.components.resetter.resets
    stage.ros.until(lambda: stage.components.resetter.resets > resets, "the reset")
    before = stage.robot.resets[-1]
    assert stage.components.resetter.first_stamp == (before + 1) * PERIOD

    def show_old() -> None:
        """What was under way when the reset came, and had not been shown yet."""
        stage.robot.joints.publish(joint_state(before * PERIOD + 7, ["hinge"], [0.0], [0.0]))
        stage.robot.task.publish(joint_state(before * PERIOD + 7, ["reward", "terminal"], [1.0, 0.0]))

    late = stage.components.observer.counters()["late"]
    stage.ros.until(lambda: stage.components.observer.counters()["late"] > late + 3, "old messages", each=show_old)
    assert stage.components.runner.phase is Phase.READY
    episodes = stage.rows[-1].episode
    stage.until(lambda: stage.rows[-1].episode > episodes, "the next episode")
    assert next(r for r in stage.rows if r.episode > episodes).stamp_capture > before * PERIOD + 7


def test_rewards_that_come_in_a_burst_all_count(make: Callable[..., Stage]) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 2, "an episode")
    publisher = stage.robot.create_publisher(JointState, "task", 100)
    stage.ros.until(lambda: publisher.get_subscription_count(), "the node to listen", each=stage.poke)
    received = stage.components.observer.counters()["received"]
    for n in range(30):
        stamp = stage.robot.tick * PERIOD + n + 1
        publisher.publish(joint_state(stamp, ["reward", "terminal"], [100.0, 0.0]))
    stage.ros.until(
        lambda: stage.components.observer.counters()["received"] >= received + 30, "all of them", each=stage.poke
    )
    stage.until(lambda: sum(r.reward for r in stage.rows) > 3000, "rows with them")
    assert sum(r.reward for r in stage.rows) < 3100


def test_a_simulated_clock_that_nobody_publishes_is_named(make: Callable[..., Stage]) -> None:
    stage = make(use_sim_time=True)
    stage.until(lambda: complain(stage.node, stage.components), "a complaint")
    assert "/clock (no time yet, although use_sim_time is set)" in complain(stage.node, stage.components)
    assert stage.rows == []


def test_a_large_picture_is_cropped_and_shrunk_and_another_size_refused(make: Callable[..., Stage]) -> None:
    image = """\
  - {name: image, shape: [48, 48, 1], dtype: uint8, picture: {size: [98, 102], crop: [2, 4, 96, 96]},
     source: {topic: camera, type: sensor_msgs/msg/Image, field: data}}
actions:"""
    stage = make(spec=TOY.replace("actions:", image, 1), max_steps=10_000)
    camera = stage.robot.create_publisher(Image, "camera", 1)
    pixels = np.random.default_rng(0).integers(0, 256, (98, 102, 3), dtype=np.uint8)

    def poke(picture: np.ndarray = pixels) -> None:
        height, width, _ = picture.shape
        message = Image(
            height=height, width=width, encoding="bgr8", step=width * 3, data=array.array("B", picture.tobytes())
        )
        message.header.stamp = joint_state((stage.robot.tick + 1) * PERIOD, [], []).header.stamp
        camera.publish(message)
        stage.poke()

    stage.ros.until(lambda: stage.rows, "a row", each=poke)
    grey = (pixels[:, :, ::-1] @ np.array([0.299, 0.587, 0.114]))[2:, 4:100].reshape(48, 2, 48, 2).mean((1, 3))
    np.testing.assert_allclose(stage.rows[0].observation["image"][:, :, 0], grey, atol=0.51)
    stage.ros.until(lambda: stage.controller.refused["message"], "a refusal", each=lambda: poke(pixels[:97]))


def test_a_held_topic_that_nobody_latches_is_heard_and_nothing_else_is_said(
    make: Callable[..., Stage], capfd: pytest.CaptureFixture[str]
) -> None:
    goal = "{name: goal, shape: [3], source: {topic: goal, type: geometry_msgs/msg/Twist, field: linear, hold: true}}"
    stage = make(spec=TOY.replace("actions:", f"  - {goal}\nactions:", 1), max_steps=10_000)
    publisher = stage.robot.create_publisher(Twist, "goal", 1)
    stage.until(publisher.get_subscription_count, "somebody to listen")
    publisher.publish(Twist())
    stage.until(lambda: stage.controller.steps > 2, "an episode")
    stage.ros.spin(0.3, stage.poke)
    assert "No messages will be received from it" not in capfd.readouterr().err


def test_the_reward_of_a_driver_without_stamps_is_summed(ros: Ros, make: Callable[..., Stage]) -> None:
    stage = make(max_steps=10_000, spec=TOY)
    robot: FakeRobot = stage.robot

    def publish() -> None:
        for _ in range(2):  # two rewards per sensor message
            robot.task.publish(joint_state(0, ["reward", "terminal"], [0.5, 0.0]))
        robot.joints.publish(joint_state(robot.tick * PERIOD, ["hinge"], [0.0], [float(robot.tick)]))

    robot.publish = publish
    stage.until(lambda: len(stage.rows) > 20, "rows")
    counters = stage.components.observer.counters()
    assert counters["unstamped task"] == counters["unstamped"] > 20 and "repeated task" not in counters
    assert sum(r.reward for r in stage.rows) > 0.5 * len(stage.rows)
