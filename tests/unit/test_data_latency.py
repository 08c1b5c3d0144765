"""Lateness from recordings: what was put in comes out, and clocks that differ are told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("rosbags")

from robot_dreamer import plain_yaml
from robot_dreamer.cli import main
from robot_dreamer.data.bags import new_bag, new_message
from robot_dreamer.data.topics import Message
from tests.recorded_bags import PERIOD, QUADRUPED, START, lived, sent, spec_file, write

SPEC = msgspec.structs.replace(QUADRUPED, episode=msgspec.structs.replace(QUADRUPED.episode, max_steps=10_000))


def recording(
    folder: Path, name: str, late: float, jitter: float = 0.0, loss: float = 0.0, camera: float = 0.0
) -> Path:
    """A bag of the quadruped; the IMU comes `camera` seconds later than the joints. Times in s."""
    generator = np.random.default_rng(7)
    messages: list[tuple[int, Message]] = []
    for time, message in sent(SPEC, lived(SPEC, 400)):
        if generator.random() < loss:
            continue
        more = camera if message.topic == "imu/data" else 0.0
        messages.append((time + round(1e9 * (late + more + generator.uniform(0, jitter))), message))
    return write(folder / name, sorted(messages, key=lambda pair: pair[0]))


def fitted(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict, str]:
    assert main(["latency", "fit", *words]) == 0
    output = capsys.readouterr().out
    return plain_yaml.read(output).value["simulation"]["delay"]["sensors"], output


def test_what_was_put_in_comes_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    robot = spec_file(tmp_path, SPEC)
    first = recording(tmp_path, "first.mcap", late=0.010, jitter=0.02, loss=0.1, camera=0.005)
    second = recording(tmp_path, "second.mcap", late=0.030, jitter=0.02, loss=0.1, camera=0.005)
    found, output = fitted(capsys, str(first), str(second), "--robot", robot)
    assert found["seconds"] == pytest.approx([0.015, 0.035], abs=0.001)  # the slower of the sensors
    assert found["jitter"] == pytest.approx(0.02, abs=0.002)
    assert found["loss"] == pytest.approx(0.1, abs=0.04)
    assert "# first.mcap, imu/data: 15." in output and "# second.mcap, joint_states: 30." in output
    one, _ = fitted(capsys, str(first), "--robot", robot)
    assert one["seconds"][0] == one["seconds"][1]
    pytest.importorskip("dm_control")
    from sim.simulation import Delay

    msgspec.convert({"sensors": found}, Delay)  # as the simulation takes it


def test_messages_without_stamps_say_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = sent(SPEC, lived(SPEC, 100))
    for _, message in messages:
        if message.topic in ("imu/data", "joint_states"):
            message.message.header.stamp.sec = message.message.header.stamp.nanosec = 0
    bag = write(tmp_path / "bag.mcap", messages)
    assert main(["latency", "fit", str(bag), "--robot", spec_file(tmp_path, SPEC)]) == 2
    assert "no message of imu/data, joint_states has a stamp" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("late", "words"),
    [
        (-0.02, ["topic imu/data", "-0.02 s after their stamps", "clocks of robot and recorder differ"]),
        (3600.0, ["3.6e+03 s after their stamps", "clocks of robot and recorder differ"]),
    ],
)
def test_another_clock_is_told(
    late: float, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = recording(tmp_path, "bag.mcap", late)
    assert main(["latency", "fit", str(bag), "--robot", spec_file(tmp_path, SPEC)]) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error


def test_a_bag_that_lacks_a_sensor_or_has_too_little_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robot = spec_file(tmp_path, SPEC)
    few = write(tmp_path / "few.mcap", [pair for pair in sent(SPEC, lived(SPEC, 5)) if pair[0] < START + 9 * PERIOD])
    assert main(["latency", "fit", str(few), "--robot", robot]) == 2
    assert "expected at least 20 messages with a stamp, found 5" in capsys.readouterr().err
    assert main(["latency", "fit", str(few), "--robot", robot, "--namespace", "/arm"]) == 2
    assert "topic /arm/imu/data (sensor_msgs/msg/Imu) has no messages; the bag's topics: " in capsys.readouterr().err


SLOW = """
name: slow
rate: 0.5
observations:
  - {name: place, shape: [1], source: {topic: joints, type: sensor_msgs/msg/JointState, field: position, names: [a]}}
actions:
  - {name: u, low: [-1.0], high: [1.0], command: {topic: u}}
reward: {expression: "place"}
episode: {max_steps: 100}
"""


def test_a_robot_below_one_hertz_loses_messages_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "slow.yaml").write_text(SLOW)
    with new_bag(tmp_path / "bag.mcap", "mcap") as bag:
        for n in (n for n in range(100) if n % 5):
            time, joints = START + n * 2_000_000_000, new_message("sensor_msgs/msg/JointState")
            joints.name, joints.position = ["a"], np.array([0.1])
            joints.header.stamp.sec, joints.header.stamp.nanosec = divmod(time, 10**9)
            bag.write("/joints", "sensor_msgs/msg/JointState", time + 10_000_000, joints)
    found, _ = fitted(capsys, str(tmp_path / "bag.mcap"), "--robot", str(tmp_path / "slow.yaml"))
    assert found["loss"] == pytest.approx(0.2, abs=0.01) and found["seconds"] == pytest.approx([0.01, 0.01])
