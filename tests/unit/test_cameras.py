"""Depth pictures: distances along the camera's axis, as the robot's own would show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("dm_control")
from robot_dreamer.spec import SpecError, load_spec
from sim.robot import SimRobot
from sim.sensors import observe
from tests.pictures import taking_pictures

MODEL = """<mujoco><worldbody><camera name="above" pos="0 0 2"/><geom type="plane" size="9 9 1"/>
<body pos="0 0 0.25"><joint name="slide" type="slide" axis="1 0 0"/><geom type="box" size="0.25 0.25 0.25"/></body>
</worldbody><actuator><motor joint="slide"/></actuator></mujoco>"""
ROBOT = """
name: looker
rate: 50.0
observations:
  - {name: colours, shape: [48, 64, 3], dtype: uint8, source: {topic: image, type: sensor_msgs/msg/Image, field: data}}
  - {name: near, shape: [48, 64, 1], dtype: uint8, unit: m, range: [1.0, 3.0],
     source: &depth {topic: depth, type: sensor_msgs/msg/Image, field: data}}
  - {name: nearer, shape: [48, 64, 1], dtype: uint8, unit: m, range: [0.0, 1.8], source: *depth}
actions: [{name: push, low: [-1], high: [1], command: {topic: commands}}]
reward: {expression: "norm(push)"}
episode: {max_steps: 10}
simulation: {model: "mjcf:model.xml"}
"""


def make(folder: Path, old: str = "", new: str = "") -> SimRobot:
    assert old in ROBOT
    (folder / "model.xml").write_text(MODEL)
    (folder / "looker.yaml").write_text(ROBOT.replace(old, new) if old else ROBOT)
    return SimRobot(load_spec(folder / "looker.yaml"), seed=0)


def test_depth_is_the_distance_along_the_cameras_axis(tmp_path: Path) -> None:
    robot = make(tmp_path)
    with taking_pictures():
        sensors = robot.reset()
    shown, seen = sensors.images["depth"], observe(robot.spec, sensors)
    assert shown.dtype == np.float32 and shown.shape == (48, 64, 1) and sensors.images["image"].dtype == np.uint8
    for row, column, distance in (
        (0, 0, 2.0),
        (47, 63, 2.0),
        (24, 32, 1.5),
    ):  # the floor, far from the axis too; the box
        assert shown[row, column, 0] == pytest.approx(distance, abs=2e-3)
    assert seen["near"][0, 0, 0] == pytest.approx(127.5, abs=1) and seen["near"][24, 32, 0] == pytest.approx(64, abs=1)
    assert seen["nearer"][0, 0, 0] == 255 and seen["nearer"][24, 32, 0] == pytest.approx(1.5 / 1.8 * 255, abs=1)


def test_a_topic_shows_depth_or_colours(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="topic 'depth': it shows depth .* or colours, not both"):
        make(tmp_path, "unit: m, range: [0.0, 1.8], source", "source")


def test_a_real_cameras_picture_has_room(tmp_path: Path) -> None:
    """MuJoCo's own room is 640 x 480."""
    robot = make(tmp_path, "source: {topic: image", "picture: {size: [1080, 1920]}, source: {topic: image")
    with taking_pictures():
        sensors = robot.reset()
    assert sensors.images["image"].shape == (1080, 1920, 3) and sensors.images["depth"].shape == (48, 64, 1)
