"""The shipped specs of real robots, from a driver's messages to the controller's: an episode of random actions."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, Imu, JointState

from robot_dreamer.onboard.command_codec import CommandReader, make_writer
from robot_dreamer.onboard.controller import Controller
from robot_dreamer.onboard.observer import Observer
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.record import StepRecord, validate_record
from robot_dreamer.ros_types import new_message
from robot_dreamer.spec import RobotSpec, known_robots, load_spec

REAL = ["a1", *(name for name in known_robots() if not load_spec(name).simulation)]


class Driver:
    """Sends what the spec's sensors are, in another order of joints than the spec's and with joints that it lacks."""

    def __init__(self, spec: RobotSpec) -> None:
        self.spec = spec
        self.random = np.random.default_rng(0)
        sources = [o.source for o in spec.quantities] + list(spec.signals.values())
        self.names: dict[str, list[str]] = {}
        for source in sources:
            known = self.names.setdefault(source.topic, ["a_stranger"])
            known += [name for name in reversed(source.names) if name not in known]

    def messages(self, stamp: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for o in self.spec.quantities:
            topic = o.source.topic
            if o.source.type == "sensor_msgs/msg/Image":
                height, width = o.picture.size if o.picture else o.shape[:2]
                data = array.array("B", self.random.bytes(height * width * 3))
                made[topic] = Image(height=height, width=width, encoding="bgr8", step=width * 3, data=data)
            elif o.source.type == "sensor_msgs/msg/Imu":
                made[topic] = Imu()
            elif o.source.type == "nav_msgs/msg/Odometry":
                made[topic] = Odometry()
            else:
                made[topic] = self.joints(topic)
        for source in self.spec.signals.values():
            made[source.topic] = self.joints(source.topic, 0.0)
        for message in made.values():
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        return made

    def joints(self, topic: str, scale: float = 0.1) -> JointState:
        names = self.names[topic]
        columns = scale * self.random.normal(size=(3, len(names)))
        for action in self.spec.actions:  # it stands
            pose = dict(zip(action.command.names, action.neutral_command(), strict=True))
            columns[0] = [pose.get(name, 0.0) for name in names]
        return JointState(name=names, position=list(columns[0]), velocity=list(columns[1]), effort=list(columns[2]))


def test_there_are_some() -> None:
    assert "diff_drive_camera" in REAL


@pytest.mark.parametrize("robot", REAL)
def test_an_episode(robot: str) -> None:
    spec = load_spec(robot)
    driver, observer = Driver(spec), Observer(spec)
    rows: list[StepRecord] = []
    slot = PolicySlot(spec, RandomPolicy(spec, 0))
    controller = Controller(spec, slot, robot="r", boot="b", record=rows.append)
    (action,) = spec.actions
    writer, reader = make_writer(action.command, action.size, spec.period, new_message), CommandReader(action)
    last = action.neutral_command()
    for t in range(1, 41):
        for topic, message in driver.messages(round(t * spec.period * 1e9)).items():
            observer.receive(topic, message)
        decision = controller.tick(observer.sample())
        assert decision.command is not None and decision.fault is None, decision
        command = decision.command[action.name]
        assert (np.abs(command - last) <= np.asarray(action.max_rate) * spec.period + 1e-9).all()
        assert (command >= action.low).all() and (command <= action.high).all()
        writer.fill(action.command.to_message(command), 0, 5)
        (topic,) = action.command.topics
        np.testing.assert_allclose(reader.read(topic, writer.messages[0])[0], command)
        controller.applied(1)
        np.testing.assert_allclose(action.to_command(rows[-1].action[action.name]), command, atol=1e-5)
        last = command
    assert len(rows) == 40 and len({tuple(r.action[action.name]) for r in rows}) > 30
    for row in rows:
        validate_record(row, spec)
