"""What the policy node learned from and what comes out of a bag of the same run's topics are the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("dm_control")
pytest.importorskip("rosbags")

from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import StoragePlugin, Writer

from robot_dreamer.cli import main
from robot_dreamer.data.bags import TYPES
from robot_dreamer.data.source import rows_of
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.messages import stamp_of
from robot_dreamer.record import StepRecord
from robot_dreamer.ros_types import message_class
from robot_dreamer.spec import ROBOTS_DIRECTORY, RobotSpec, load_spec
from ros_nodes.policy_node import PolicyNode
from tests.ros.sim_bench import Bench
from tests.ros.stage import MOVES


@pytest.fixture
def bench(ros: Any) -> Iterator[Bench]:
    bench = Bench(ros)
    yield bench
    bench.stop()


class Recorder:
    """As `ros2 bag record --use-sim-time`: the bytes of all messages, at the simulation's time."""

    def __init__(self, ros: Any, spec: RobotSpec, writer: Writer) -> None:
        self._node = ros.add(ros.node("recorder"))
        self._writer = writer
        self._now = 0
        self._subscriptions: list[Any] = []
        command = spec.actions[0].command
        for topic, kind in (("joint_states", "JointState"), ("task", "JointState")):
            self._record(topic, f"sensor_msgs/msg/{kind}", stamp_of)
        self._record(command.topic, command.type, self._answered)

    def _answered(self, command: Any) -> int:
        """The stamp of the sensors that a command answers; neutral ones, between episodes, answer none and give 0."""
        return int(command.layout.dim[0].label or 0)

    def _record(self, topic: str, kind: str, time_of: Any) -> None:
        connection = self._writer.add_connection(f"/{topic}", kind, typestore=TYPES)
        type_ = message_class(kind)

        def write(data: bytes) -> None:
            time = time_of(deserialize_message(data, type_)) or self._now
            self._now = max(self._now, time)
            self._writer.write(connection, time, data)

        self._subscriptions.append(self._node.create_subscription(type_, topic, write, 100, raw=True))

    @property
    def hears_all(self) -> bool:
        return all(subscription.get_publisher_count() for subscription in self._subscriptions)


@pytest.mark.parametrize("storage", list(StoragePlugin), ids=lambda s: s.name.lower())
def test_a_bag_gives_the_rows_that_the_node_recorded(bench: Bench, tmp_path: Path, storage: StoragePlugin) -> None:
    robot = tmp_path / "robot.yaml"
    text = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text()
    robot.write_text(text.replace("max_steps: 250", "max_steps: 20"))
    spec = load_spec(robot)
    rows: list[StepRecord] = []
    with Writer(tmp_path / "bag", version=9, storage_plugin=storage) as writer:
        recorder = Recorder(bench.ros, spec, writer)
        bench.robot(robot=str(robot), seed=5)
        overrides = [
            Parameter(k, value=v) for k, v in {"robot": str(robot), "clock": "lockstep", "threads": 1, **MOVES}.items()
        ]
        node = bench.ros.add(PolicyNode(context=bench.ros.context, parameter_overrides=overrides))
        assert node.bring_up()
        node.components.controller._record = rows.append
        bench.ros.until(lambda: recorder.hears_all, "the recorder to find its topics")
        first = node.components.controller.episodes + 1  # of those before, the recorder may have missed something
        bench.ros.until(lambda: node.components.controller.episodes == first + 4, "three episodes and their messages")
        node.trigger_shutdown()
    command = ["data", "import", str(tmp_path / "bag"), "--spec", str(robot), "--store", str(tmp_path / "s.sqlite")]
    assert main(command) == 0
    store = ExperienceStore(tmp_path / "s.sqlite", spec)
    found = {row.stamp_capture: row for row in rows_of(store)}
    store.close()
    whole = [row for row in rows if first <= row.episode < first + 3]
    assert len(whole) == 63
    for row in whole:
        again = found[row.stamp_capture]
        flags = (again.is_first, again.is_last, again.is_terminal)
        assert flags == (row.is_first, row.is_last, row.is_terminal)
        assert again.reward == row.reward
        for name, value in row.observation.items():
            np.testing.assert_array_equal(again.observation[name], value)
        np.testing.assert_allclose(again.action["force"], row.action["force"], atol=1e-6)
