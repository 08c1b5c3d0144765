"""~/debug/image and ~/debug/state: what the policy sees and thinks; only where asked for, and not by the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from robot_dreamer.onboard.policy import PolicyOutput
from robot_dreamer.spec import parse_spec
from ros_nodes.debug_topics import DebugTopics
from tests.onboard_models import TOY, make_bundle
from tests.ros.conftest import Ros
from tests.ros.stage import Stage

pytestmark = pytest.mark.usefixtures("proved_here")
Make = Callable[..., Stage]
CAMERA = """
  - {name: %s, shape: [%d, 4, %d], dtype: uint8, source: {topic: %s, type: sensor_msgs/msg/Image, field: data}}
actions:"""
LONG = parse_spec(TOY.replace("max_steps: 5", "max_steps: 10000"))
NUMBERS = ["angle/cos hinge", "angle/sin hinge", "speed/hinge"]
MONITORS = ["surprise", "value", "reward"]


def test_the_state_is_that_of_the_policy_and_comes_from_another_thread_than_the_loop(
    make: Make, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "toy.bundle", LONG, version=3)
    stage = make(max_steps=10_000, debug_rate=20.0, bundle=str(bundle))
    publisher = stage.components.debug._state
    publish, threads = publisher.publish, set[str]()
    loops = set[str]()
    tick = stage.controller.tick

    def noted(message: JointState) -> None:
        threads.add(threading.current_thread().name)
        publish(message)

    def ticked(*arguments: Any) -> Any:
        loops.add(threading.current_thread().name)
        return tick(*arguments)

    publisher.publish, stage.controller.tick = noted, ticked
    states = stage.watch(JointState, "policy/debug/state")
    stage.until(lambda: len(states) > 3 and loops, "states")
    names, numbers = list(states[-1].name), dict(zip(states[-1].name, states[-1].position, strict=True))
    assert names[:3] == NUMBERS
    assert names[3:] == MONITORS  # whatever the policy says: Foxglove's layout counts from the end
    assert numbers["angle/cos hinge"] ** 2 + numbers["angle/sin hinge"] ** 2 == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(states[-1].position[:3]).all()
    assert not threads & loops


def test_nobody_gets_them_unasked(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps > 3, "steps")
    topics = {name for name, _ in stage.node.get_topic_names_and_types()}
    assert not {name for name in topics if "debug" in name}


def test_pictures_are_as_the_policy_sees_them_and_old_ones_are_not_repeated(ros: Ros) -> None:
    one = parse_spec(TOY.replace("\nactions:", CAMERA % ("eye", 2, 3, "eye"), 1))
    left = TOY.replace("\nactions:", CAMERA % ("left", 2, 3, "a"), 1)
    two = parse_spec(left.replace("\nactions:", CAMERA % ("right", 3, 1, "b"), 1))
    rng = np.random.default_rng(0)
    for spec, topics in ((one, {"eye": "image"}), (two, {"left": "image_left", "right": "image_right"})):
        node = ros.add(Node("watched", context=ros.context))
        seen = {o.name: np.zeros(o.shape, o.dtype) for o in spec.observations}
        seen |= {name: rng.integers(0, 256, seen[name].shape, np.uint8) for name in topics}
        controller = SimpleNamespace(seen=None, output=None, steps=0)
        debug = DebugTopics(node, spec, controller, rate=50.0)  # type: ignore[arg-type]
        found: dict[str, list[Image]] = {name: [] for name in topics}
        for name, topic in topics.items():
            node.create_subscription(Image, f"watched/debug/{topic}", found[name].append, 10)
        states: list[JointState] = []
        node.create_subscription(JointState, "watched/debug/state", states.append, 10)
        ros.until(lambda node=node: node.count_subscribers("watched/debug/state"), "the subscription")
        assert not states  # before the first step there is nothing to show
        controller.seen, controller.output, controller.steps = seen, PolicyOutput({}, surprise=2.5), 1
        ros.until(lambda found=found, states=states: all(found.values()) and states, "pictures")
        for name, (picture, *_) in found.items():
            assert (picture.height, picture.width, picture.header.frame_id) == (*seen[name].shape[:2], name)
            assert picture.encoding == ("rgb8" if seen[name].shape[2] == 3 else "mono8")
            assert bytes(picture.data) == seen[name].tobytes()
        assert list(states[0].name) == [*NUMBERS, *MONITORS]
        assert states[0].position[-3] == 2.5 and np.isnan(states[0].position[-2:]).all()
        count = len(states)
        ros.spin(0.2, lambda: None)
        assert len(states) == count
        debug.destroy()
        assert not [publisher for publisher in node.publishers if "debug" in publisher.topic_name]
