"""`robot-dreamer check --bag`: errors that are planted into a recording are found and named; a sound one is GO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags")

from robot_dreamer.cli import main
from robot_dreamer.data.bags import new_bag, new_message
from robot_dreamer.preflight import evidence, streams
from tests.planted_robot import NAMED, OF_THE_GRAPH, RATE, SECONDS, SPEC_TEXT, Drivers

START = 1_700_000_000_000_000_000  # ns
COMMAND = "std_msgs/msg/Float64MultiArray"


def record(path: Path, plant: str = "", command: Any = None, battery: bool = False) -> Path:
    """A bag of the robot; command: from seconds to joint goals."""
    drivers, said = Drivers(new_message, plant), []
    for n in range(round(SECONDS * RATE)):
        time = START + round(n / RATE * 1e9)
        said += [(time, s.topic, s.kind, s.message) for s in drivers.at(n / RATE, time)]
        if battery:
            message = new_message(COMMAND)
            message.data = np.array([12.0 + 0.1 * np.sin(n)])
            said.append((time, "battery", COMMAND, message))
        if command is not None:
            message = new_message(COMMAND)
            message.data = np.asarray(command(n / RATE))
            said.append((time, "arm/commands", COMMAND, message))
    kinds = {topic: kind for _, topic, kind, _ in said}
    with new_bag(path, "mcap") as bag:
        for time, topic, kind, message in said:
            assert kinds[topic] == kind
            bag.write(f"/{topic}", kind, time, message)
    return path


def check(folder: Path, bag: Path, capsys: pytest.CaptureFixture[str], text: str = SPEC_TEXT) -> tuple[int, str]:
    (folder / "robot.yaml").write_text(text)
    status = main(["check", str(folder / "robot.yaml"), "--preset", "nano", "--bag", str(bag)])
    return status, " ".join(capsys.readouterr().out.split())


def test_what_only_the_guard_watches_is_looked_for_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = "{topic: battery, type: std_msgs/msg/Float64MultiArray, field: data, names: [volts]}"
    watched = f"watched: [{{name: battery, shape: [1], source: {source}}}]\n"
    text = watched + SPEC_TEXT.replace("limits: [", "limits: [{observation: battery, low: [11.0]}, ")
    status, out = check(tmp_path, record(tmp_path / "bag.mcap", battery=True), capsys, text)
    assert status == 0 and "NO-GO" not in out, out
    status, out = check(tmp_path, record(tmp_path / "without.mcap"), capsys, text)
    assert status == 1 and "topic battery" in out


def test_a_sound_recording_is_go_and_says_what_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = check(tmp_path, record(tmp_path / "bag.mcap"), capsys)
    assert status == 0 and "GO (0 to look at) by the recording" in out and "NO-GO" not in out, out
    assert "agrees with observation speed in sign and scale: a, b, c" in out
    assert "orientation and acceleration agree about up" in out


@pytest.mark.parametrize("plant", [plant for plant in NAMED if plant not in OF_THE_GRAPH])
def test_a_planted_error_is_found_and_named(plant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = check(tmp_path, record(tmp_path / "bag.mcap", plant), capsys)
    assert NAMED[plant] in out, out
    assert status == (plant not in ("delay", "dropped messages")), out


def test_a_joint_that_goes_the_other_way_than_commanded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def goals(t: float) -> list[float]:
        return [0.8 * np.sin(3.0 * t), -np.sin(4.1 * t), 0.0]

    status, out = check(tmp_path, record(tmp_path / "bag.mcap", command=goals), capsys)
    assert status == 1 and "action goal: b goes the other way than commanded" in out
    assert "a goes the other way" not in out


def test_what_is_not_finite_and_what_stands_still_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joints = new_message("sensor_msgs/msg/JointState")
    joints.name, joints.position, joints.velocity = ["a", "b", "c"], np.array([0.1, 0.2, 0.3]), np.zeros(3)
    with new_bag(tmp_path / "bag.mcap", "mcap") as bag:
        for n in range(40):
            joints.header.stamp.sec, joints.position[1] = 1_700_000_000, 0.01 * n if n % 4 else np.nan
            bag.write("/joint_states", "sensor_msgs/msg/JointState", START + n * 20_000_000, joints)
    status, out = check(tmp_path, tmp_path / "bag.mcap", capsys)
    assert status == 1
    assert "25% of its messages have numbers that are not finite" in out
    assert "a, c never changed" in out and "all 40 stamps are the same" in out
    assert "no sensor_msgs/msg/Imu came" in out


def test_what_did_not_move_is_said_to_be_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joints = new_message("sensor_msgs/msg/JointState")
    joints.name, joints.velocity = ["a", "b", "c"], np.zeros(3)
    with new_bag(tmp_path / "bag.mcap", "mcap") as bag:
        for n in range(40):
            joints.header.stamp.sec, joints.header.stamp.nanosec = divmod(START + n * 20_000_000, 10**9)
            joints.position = np.array([0.1, 0.2, 0.3]) + 1e-5 * (n % 2)
            bag.write("/joint_states", "sensor_msgs/msg/JointState", START + n * 20_000_000, joints)
    _, out = check(tmp_path, tmp_path / "bag.mcap", capsys)
    assert "a, b, c moved too little to be compared with observation speed: sign and scale are not known" in out


def test_a_recording_that_is_too_long_is_said_to_be_compared_in_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (evidence, streams):
        monkeypatch.setattr(module, "MOST", 150)
    _, out = check(tmp_path, record(tmp_path / "bag.mcap"), capsys)
    assert "topic imu: stamps, ages and numbers are those of the first 150 of its 200 messages" in out
