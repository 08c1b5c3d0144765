"""What a bag holds that is no experience: cut or refused, and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robot_dreamer.cli import main
from robot_dreamer.data.bags import message_type
from robot_dreamer.data.topics import Message
from tests.recorded_bags import (
    COMMANDS,
    OTHERS,
    PERIOD,
    SPEC,
    START,
    TRAJECTORY,
    lived,
    load,
    sent,
    write,
)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["data", "import", *words]) == 2
    return capsys.readouterr().err


def test_options_that_a_source_has_no_use_for_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write(tmp_path / "x.mcap", sent(SPEC, lived(SPEC, 40)))
    status, _ = load(bag, SPEC)
    assert status == 0
    (store,) = tmp_path.rglob("*.sqlite")
    into = ["--store", str(tmp_path / "none.sqlite")]
    told = refused(capsys, str(store), *into, "--robot", "arm2", "--namespace", "/a")
    assert f"{store} is a store, with names of its own: leave out --robot, --namespace" in told
    assert "is no LeRobotDataset: leave out --map" in refused(capsys, str(bag), *into, "--map", "a=b")
    ours = tmp_path / "ours.mcap"
    assert main(["data", "export", str(store), "--output", str(ours)]) == 0
    assert "has its own names: leave out --robot" in refused(capsys, str(ours), *into, "--robot", "arm2")
    assert not (tmp_path / "none.sqlite").exists()


def test_an_imported_orientation_that_is_none_cuts_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = sent(OTHERS, lived(OTHERS, 40))
    for time, message in messages:
        if message.topic == "odom" and (time - START) // PERIOD == 20:
            pose = message.message.pose.pose.orientation
            pose.x = pose.y = pose.z = pose.w = 0.0
    status, found = load(write(tmp_path / "x.mcap", messages), OTHERS)
    assert status == 0 and [r.sequence for r in found if r.is_first] == [0, 20]
    assert "topic odom: orientation: expected a quaternion of norm 1 (0.9 to 1.1), found 0" in capsys.readouterr().out


def test_a_reward_that_no_row_can_hold_cuts_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = sent(SPEC, lived(SPEC, 40))
    for time, message in messages:
        if message.topic == "task" and (time - START) // PERIOD == 20:
            message.message.position[:] = [1e300, 0.0]
    status, found = load(write(tmp_path / "x.mcap", messages), SPEC)
    assert status == 0 and [r.sequence for r in found if r.is_first] == [0, 20]
    assert "reward: expected a number that float32 can hold, found 1e+300" in capsys.readouterr().out


def test_commands_beyond_the_limits_are_moved_inside_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = sent(SPEC, lived(SPEC, 50))
    for time, message in messages:
        if message.topic == COMMANDS and (time - START) // PERIOD in (7, 8):
            message.message.data[:] = -3.0
    _, found = load(write(tmp_path / "x.mcap", messages), SPEC)
    assert found[7].action["force"] == found[8].action["force"] == -1.0
    assert "2 commands were outside the spec's limits" in capsys.readouterr().out


def test_a_message_that_does_not_fit_cuts_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = sent(SPEC, lived(SPEC, 50))
    for time, message in messages:
        if message.topic == "joint_states" and (time - START) // PERIOD == 20:
            message.message.name[:] = ["slider", "other"]
        if message.topic == "joint_states" and (time - START) // PERIOD == 30:
            message.message.position[:] = np.nan
    status, found = load(write(tmp_path / "x.mcap", messages), SPEC)
    assert status == 0 and [r.sequence for r in found if r.is_first] == [0, 20, 29]
    out = capsys.readouterr().out
    assert "joint hinge_1 is missing, found slider, other" in out and "expected finite numbers" in out


def test_a_command_that_does_not_fit_cuts_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the rule of the policy node and the simulated robot: obeyed whole, or refused."""
    messages = sent(TRAJECTORY, lived(TRAJECTORY, 60))
    for time, message in messages:
        if message.topic == "trajectory" and (time - START) // PERIOD == 20:
            message.message.points[:] = message.message.points * 2
        if message.topic == "trajectory" and (time - START) // PERIOD == 40:
            message.message.joint_names[0] = "gripper"
    status, found = load(write(tmp_path / "x.mcap", messages), TRAJECTORY)
    assert status == 0 and [r.stamp_capture for r in found if r.is_first] == [START + n * PERIOD for n in (0, 21, 41)]
    out = capsys.readouterr().out
    assert "expected one point, found 2" in out and "found ['gripper'" in out


def without(topic: str) -> Callable[[list[tuple[int, Message]]], list[tuple[int, Message]]]:
    return lambda messages: [entry for entry in messages if entry[1].topic != topic]


def of_another_type(messages: list[tuple[int, Message]]) -> list[tuple[int, Message]]:
    text = message_type("std_msgs/msg/String")(data="?")
    return [
        (t, m._replace(kind="std_msgs/msg/String", message=text) if m.topic == "joint_states" else m)
        for t, m in messages
    ]


def slow_commands(messages: list[tuple[int, Message]]) -> list[tuple[int, Message]]:
    return [(t, m) for t, m in messages if m.topic != COMMANDS or (t - START) // PERIOD % 3 == 0]


def fast_forward(messages: list[tuple[int, Message]]) -> list[tuple[int, Message]]:
    return [(START + (t - START) * 4 // 5, m) for t, m in messages]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            without("joint_states"),
            "topic /joint_states (sensor_msgs/msg/JointState) has no messages; the bag's topics: ",
        ),
        (without("task"), "topic /task (sensor_msgs/msg/JointState) has no messages"),
        (without(COMMANDS), "topic /effort_controller/commands (std_msgs/msg/Float64MultiArray) has no messages"),
        (of_another_type, "topic /joint_states: expected sensor_msgs/msg/JointState, found std_msgs/msg/String"),
        (slow_commands, "commands come at 8.33 Hz, the spec says 25 Hz"),
        (fast_forward, "its stamps run 1.25 times as fast as the times of the bag"),
    ],
    ids=["no-sensor", "no-reward", "no-commands", "wrong-type", "wrong-rate", "wrong-clock"],
)
def test_a_bag_that_does_not_fit_is_refused_with_the_reason(
    tmp_path: Path,
    change: Callable[[list[tuple[int, Message]]], list[tuple[int, Message]]],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bag = write(tmp_path / "x.mcap", change(sent(SPEC, lived(SPEC, 60))))
    status, _ = load(bag, SPEC)
    assert status == 2 and reason in capsys.readouterr().err
    assert not (tmp_path / "new.sqlite").exists()


def test_a_namespace_and_a_robot_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write(tmp_path / "x.mcap", sent(SPEC, lived(SPEC, 30)), prefix="/arm/left/")
    assert load(bag, SPEC)[0] == 2
    assert "/arm/left/joint_states" in capsys.readouterr().err
    assert load(bag, SPEC, "--namespace", "/arm/left", "--robot", "arm/left")[0] == 2
    assert "robot id 'arm/left' is not possible" in capsys.readouterr().err
    status, found = load(bag, SPEC, "--namespace", "/arm/left", "--robot", "left")
    assert status == 0 and len(found) == 30 and found[0].robot == "left"


def test_without_a_spec_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write(tmp_path / "x.mcap", sent(SPEC, lived(SPEC, 30)))
    assert main(["data", "import", str(bag), "--store", str(tmp_path / "new.sqlite")]) == 2
    assert "--spec" in capsys.readouterr().err
