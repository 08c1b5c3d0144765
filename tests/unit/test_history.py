"""`history: n`: an observation that holds the vectors of the last n ticks, on the robot, in rows, and out of a bag."""

from __future__ import annotations

import numpy as np
import pytest

from robot_dreamer.record import validate_record
from robot_dreamer.spec import RobotSpec, SpecError, parse_spec
from tests.onboard_models import TOY
from tests.scripted_runs import SPEC, Run

TEXT = TOY.replace("{name: speed, shape: [1],", "{name: speed, shape: [3], history: 3,")


def spec() -> RobotSpec:
    return parse_spec(TEXT)


def test_rows_hold_the_last_ticks_of_their_episode() -> None:
    run = Run(spec=spec())
    for _ in range(8):
        run.tick()
    for row in run.rows:
        validate_record(row, spec())
    speeds = [row.observation["speed"].tolist() for row in run.rows]
    assert speeds[:6] == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert run.rows[6].is_first and speeds[6:] == [[6, 6, 6], [6, 6, 7]]


def test_a_refused_sample_begins_it_anew() -> None:
    run = Run(spec=spec())
    run.tick()
    assert run.tick(run.sample(speed=np.array([np.nan], np.float32))).refused
    assert run.tick(run.sample(speed=np.array([1, 2, 3], np.float32))).refused.endswith("[1], found float32[3]")
    run.tick()
    assert run.rows[-1].is_first and run.rows[-1].observation["speed"].tolist() == [3, 3, 3]


def test_its_components_have_names() -> None:
    assert spec().observations[1].components == ("hinge t-2", "hinge t-1", "hinge")
    angle = parse_spec(TOY.replace("shape: [2], encoding", "shape: [4], history: 2, encoding")).observations[0]
    assert angle.components == ("cos hinge t-1", "sin hinge t-1", "cos hinge", "sin hinge")
    assert angle.reading_shape == (2,)
    assert spec().hash != SPEC.hash and parse_spec(TEXT.replace("[3], history: 3", "[1], history: 1")).hash == SPEC.hash


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("history: 3", "history: 0", "history must be 1 to 64 ticks, found 0"),
        ("shape: [3]", "shape: [1]", r"shape must be \[3\] to fit its source, encoding and history"),
        (
            "episode:",
            "safety: {limits: [{observation: speed, high: [1.0]}]}\nepisode:",
            "speed must be a vector of raw",
        ),
        (
            "{topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}",
            "{expression: 'speed[0]'}",
            "speed",
        ),
    ],
)
def test_what_cannot_be_is_refused(old: str, new: str, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        parse_spec(TEXT.replace(old, new, 1))


def test_out_of_a_bag_and_back_into_one() -> None:
    pytest.importorskip("rosbags")
    pytest.importorskip("PIL")
    from robot_dreamer.data.bags import new_message
    from robot_dreamer.data.recording import RecordingSampler
    from robot_dreamer.data.topics import TopicWriter
    from tests.robot_sensors import sensor_text, stamped

    robot = parse_spec(sensor_text("speed").replace("shape: [3]", "shape: [6], history: 2", 1))
    sampler, rows = RecordingSampler(robot, "r", "b"), []
    for n in range(6):
        time = 10**18 + n * 50_000_000
        twist = stamped(new_message("geometry_msgs/msg/TwistStamped"), time)
        twist.twist.angular.z = float(n)
        command = new_message("std_msgs/msg/Float64MultiArray")
        command.data = np.zeros(1)
        rows += sampler.feed("speed", False, time, twist)
        rows += sampler.feed("motor", True, time + 1_000_000, command)
    assert [row.observation["speed"][[2, 5]].tolist() for row in rows[:3]] == [[0, 0], [0, 1], [1, 2]]
    sent = next(TopicWriter(robot).messages(rows[2]))
    assert sent.message.twist.angular.z == 2.0
