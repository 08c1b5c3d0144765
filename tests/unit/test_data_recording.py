"""Ordinary bags: sensors and commands become the rows that the policy node would have made; bad ones are refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.synthetic import synthetic_row
from robot_dreamer.data.bags import message_type
from robot_dreamer.data.errors import DataError
from robot_dreamer.data.inspect import needed_topics
from robot_dreamer.data.topics import Message, TopicWriter
from robot_dreamer.spec import ObservationSpec, RobotSpec, Signal, Source, load_spec
from robot_dreamer.spec.action import Command
from tests.recorded_bags import (
    COMMANDS,
    JOINTS,
    OTHERS,
    PERIOD,
    QUADRUPED,
    SPEC,
    START,
    TRAJECTORY,
    _restamped,
    lived,
    load,
    sent,
    with_command,
    write,
)

pytest.importorskip("rosbags")


CAMERA = load_spec("cartpole_camera")
FLOATS = with_command(topic="{name}/command", type="std_msgs/msg/Float64", names=JOINTS, scale=(2.0,) * 12)
_TWO = msgspec.structs.replace(
    SPEC.actions[0],
    low=(-1.0, -2.0),
    high=(1.0, 2.0),
    neutral=(),
    command=Command(
        topic="cmd_vel", type="geometry_msgs/msg/Twist", names=("linear.x", "angular.z"), offset=(0.5, 0.0)
    ),
)
_CENTIMETRES = msgspec.structs.replace(SPEC.observations[0], scale=(0.01,), offset=(3.0,))
SCALED = msgspec.structs.replace(SPEC, observations=(_CENTIMETRES, *SPEC.observations[1:]))
TWIST = msgspec.structs.replace(SPEC, actions=(_TWO,))
_STAMPED = msgspec.structs.replace(_TWO.command, type="geometry_msgs/msg/TwistStamped")
STAMPED = msgspec.structs.replace(SPEC, actions=(msgspec.structs.replace(_TWO, command=_STAMPED),))


@pytest.mark.parametrize("name", ["x.mcap", "x"])
@pytest.mark.parametrize("spec", [SPEC, SCALED, CAMERA, QUADRUPED, TRAJECTORY, FLOATS, TWIST, STAMPED, OTHERS])
def test_what_a_robot_lived_comes_back_from_its_topics(tmp_path: Path, spec: RobotSpec, name: str) -> None:
    spec = msgspec.structs.replace(spec, episode=msgspec.structs.replace(spec.episode, max_steps=30))
    rows = lived(spec, 50)
    status, found = load(write(tmp_path / name, sent(spec, rows)), spec)
    assert status == 0 and len(found) == len(rows)
    orientations = {o.name for o in spec.observations if o.source.field == "orientation"}
    for ours, theirs in zip(rows, found, strict=True):
        assert (ours.sequence, ours.episode, ours.is_first, ours.is_last) == (
            theirs.sequence,
            theirs.episode,
            theirs.is_first,
            theirs.is_last,
        )
        assert (ours.stamp_capture, ours.stamp_applied) == (theirs.stamp_capture, theirs.stamp_applied)
        assert ours.reward == pytest.approx(theirs.reward)
        for kind in ("observation", "action", "action_requested"):
            for key, value in getattr(ours, kind).items():
                if key == "pole_angle":  # noise is no cosine and sine; its angle is
                    value = value / np.linalg.norm(value)
                if key in orientations:  # as are quaternions; of their two signs the one with w of at least 0 is seen
                    value = value * np.where(value[..., 3:] < 0, -1, 1)
                found_value = getattr(theirs, kind)[key]
                if ours.is_last and kind != "observation":
                    assert not found_value.any()
                else:
                    np.testing.assert_allclose(value, found_value, atol=2e-6)
    before = len(found)
    status, found = load(tmp_path / name, spec)
    assert status == 0 and len(found) == before


def test_a_bag_is_rewarded_by_the_specs_expression(tmp_path: Path) -> None:
    """Without a reward topic in it; what is watched counts only where an expression is computed from it."""
    reward = Signal(expression="2 * cart_position + norm(effort) + 10 * force")
    effort = ObservationSpec("effort", (1,), msgspec.structs.replace(SPEC.observations[0].source, field="effort"))
    elsewhere = Source("elsewhere", "sensor_msgs/msg/JointState", "position", ("x",))
    spec = msgspec.structs.replace(
        SPEC, reward=reward, terminal=None, watched=(effort, ObservationSpec("unused", (1,), elsewhere))
    )
    driver = msgspec.structs.replace(SPEC, observations=(*SPEC.observations, effort))
    rows = lived(driver, 20)
    messages = sent(driver, rows)
    status, found = load(write(tmp_path / "x", [m for m in messages if m[1].topic != "task"]), spec)
    assert status == 0 and len(found) == len(rows)
    for before, row, known in zip(found, found[1:], rows[1:], strict=False):
        effort_then = np.abs(known.observation["effort"])
        expected = 2 * row.observation["cart_position"] + effort_then + 10 * before.action["force"]
        assert row.reward == pytest.approx(float(expected[0]), abs=1e-5)


def test_sensors_and_commands_of_other_rates_are_sampled_at_the_specs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sensors at 100 Hz with jitter, commands at 40 Hz, rewards at 50 Hz: the newest observation, all of the reward."""
    rng = np.random.default_rng(0)
    writer = TopicWriter(SPEC)
    messages: list[tuple[int, Message]] = []
    for n in range(400):
        time = START + n * 10_000_000
        made = {m.topic: m for m in writer.messages(_restamped(synthetic_row(SPEC, "r", "b", n, 10_000), time))}
        messages.append((time + int(rng.integers(0, 5_000_000)), made["joint_states"]))
        if n % 2 == 0:
            made["task"].message.position[:] = [1.0, 0.0]
            messages.append((time + 1, made["task"]))
    for n in range(160):
        value = np.array([0.001 * n])
        message = Message(COMMANDS, "std_msgs/msg/Float64MultiArray", 0, _array(value))
        messages.append((START + 100_000_000 + n * 25_000_000 - 1_000_000, message))
    messages.sort(key=lambda entry: entry[0])
    messages = [entry for entry in messages if entry[0] < START + 3_900_000_000]
    status, rows = load(write(tmp_path / "x", messages), SPEC)
    assert status == 0 and len(rows) == pytest.approx(95, abs=1)
    assert "faster than the spec's 25 Hz" in capsys.readouterr().out
    assert {round(row.stamp_capture - rows[0].stamp_capture, -7) % PERIOD for row in rows} == {0}
    assert [row.reward for row in rows[1:]] == [2.0] * (len(rows) - 1)
    for row in rows:
        in_force = (row.stamp_capture // 10**7 * 10**7 - START + 20_000_000 - 99_000_000) // 25_000_000
        assert row.action["force"][0] == pytest.approx(0.001 * in_force, abs=0.0011)


def _array(values: np.ndarray) -> object:
    layout = message_type("std_msgs/msg/MultiArrayLayout")(dim=[], data_offset=0)
    return message_type("std_msgs/msg/Float64MultiArray")(layout=layout, data=values)


def test_no_row_is_made_up_behind_the_last_message(tmp_path: Path) -> None:
    messages = sent(SPEC, lived(SPEC, 30))
    last = START + 30 * PERIOD - 1  # sensors go on until just before a tick that never came
    messages.append((last, next(m for t, m in sent(SPEC, lived(SPEC, 1, last)) if m.topic == "joint_states")))
    _, found = load(write(tmp_path / "x.mcap", messages), SPEC)
    assert len(found) == 30


def test_a_gap_splits_the_episode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = lived(SPEC, 40)
    pause = 3_000_000_000
    messages = sent(SPEC, [*rows[:20], *(_restamped(r, r.stamp_capture + pause) for r in rows[20:])])
    status, found = load(write(tmp_path / "x.mcap", messages), SPEC)
    assert status == 0
    assert [r.episode for r in found if r.is_first] == [0, 1]
    second = next(r for r in found if r.episode == 1)
    assert second.stamp_capture == rows[20].stamp_capture + pause and second.reward == 0.0
    assert sum(r.episode == 1 for r in found) == 20
    assert "note: cut 1 times:" in capsys.readouterr().out


def test_commands_that_stop_cut_the_episode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = [
        (time, message)
        for time, message in sent(SPEC, lived(SPEC, 100))
        if message.topic != COMMANDS or not 30 <= (time - START) // PERIOD < 60
    ]
    status, found = load(write(tmp_path / "x.mcap", messages), SPEC)
    assert status == 0 and [r.episode for r in found if r.is_first] == [0, 1]
    assert [r.stamp_capture for r in found if r.is_first][1] == START + 60 * PERIOD
    assert "cut 1 times: commands silent" in capsys.readouterr().out


def test_the_command_of_one_joint_that_stops_cuts_the_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often its neighbours are commanded: what it was told last need not be in force any more."""
    silent = FLOATS.actions[0].command.topics[3]
    messages = [
        (time, message)
        for time, message in sent(FLOATS, lived(FLOATS, 100))
        if message.topic != silent or not 30 <= (time - START) // PERIOD < 60
    ]
    status, found = load(write(tmp_path / "x.mcap", messages), FLOATS)
    assert status == 0 and [r.stamp_capture for r in found if r.is_first][1] == START + 60 * PERIOD
    assert f"cut 1 times: commands silent: {silent}" in capsys.readouterr().out


def test_a_clock_that_begins_again_cuts_the_episode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recorder's clock goes on; the robot's stamps leap back by 100 s."""
    messages = sent(SPEC, lived(SPEC, 50))
    again = sent(SPEC, lived(SPEC, 50, START - 100_000_000_000))
    messages += [(time + 100_000_000_000 + 50 * PERIOD, message) for time, message in again]
    status, found = load(write(tmp_path / "x.mcap", messages), SPEC)
    out = capsys.readouterr().out
    assert status == 0 and "cut 1 times: the robot's clock jumps" in out and "stamps go backwards" in out
    assert [r.episode for r in found if r.is_first] == [0, 1] and len(found) > 95


def test_messages_without_a_stamp_get_the_bags_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = sent(SPEC, lived(SPEC, 30))
    for _, message in messages:
        if message.topic == "joint_states":
            message.message.header.stamp.sec = message.message.header.stamp.nanosec = 0
    status, found = load(write(tmp_path / "x.mcap", messages), SPEC)
    assert status == 0 and [r.stamp_capture for r in found] == pytest.approx(
        [START + n * PERIOD for n in range(30)], abs=1000
    )
    assert "/joint_states: 30 messages have no stamp" in capsys.readouterr().out


def test_a_sensor_that_sends_an_old_message_again_and_again_is_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = sent(SPEC, lived(SPEC, 100))
    frozen = next(m for t, m in messages if m.topic == "joint_states" and t == START + 30 * PERIOD)
    messages = [
        (t, frozen if m.topic == "joint_states" and 30 <= (t - START) // PERIOD < 60 else m) for t, m in messages
    ]
    status, found = load(write(tmp_path / "x.mcap", messages), SPEC)
    assert status == 0 and [r.stamp_capture for r in found if r.is_first] == [START, START + 60 * PERIOD]
    assert "cut 1 times: sensor stale: joint_states" in capsys.readouterr().out


def test_terminal_ends_an_episode_for_good(tmp_path: Path) -> None:
    messages = sent(SPEC, lived(SPEC, 60))
    for time, message in messages:
        if message.topic == "task" and 20 <= (time - START) // PERIOD <= 25:
            message.message.position[message.message.name.index("terminal")] = 1.0
    _, found = load(write(tmp_path / "x.mcap", messages), SPEC)
    assert [(r.sequence, r.is_terminal) for r in found if r.is_last] == [(20, True)]
    assert found[21].is_first and found[21].stamp_capture == START + 26 * PERIOD  # not while it is still terminal


@pytest.mark.parametrize("at", [1, 9, 20, 31, 39])  # ms behind the observation; the command comes at 3
def test_a_terminal_pulse_ends_the_episode_with_the_row_that_holds_its_reward(tmp_path: Path, at: int) -> None:
    messages = sent(SPEC, lived(SPEC, 60))
    for number, (terminal, offset) in enumerate(((1.0, at), (0.0, at + 0.5))):
        time = START + 20 * PERIOD + round(offset * 1e6)
        pulse = next(m for _, m in sent(SPEC, lived(SPEC, 1, time)) if m.topic == "task")
        names = pulse.message.name
        pulse.message.position[names.index("terminal")] = terminal
        pulse.message.position[names.index("reward")] = 100.0 * (1 - number)
        messages.append((time, pulse))
    _, found = load(write(tmp_path / "x.mcap", sorted(messages, key=lambda entry: entry[0])), SPEC)
    (last,) = [r for r in found if r.is_last]
    assert last.is_terminal and last.reward > 99 and sum(r.reward > 99 for r in found) == 1


@pytest.mark.parametrize("shift", [0, 3_000_000, 20_000_000])  # 20 ms: half a period, only the values tell
def test_two_streams_of_one_topic_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str], shift: int) -> None:
    messages = sent(SPEC, lived(SPEC, 60))
    zeros = [(t + shift, m) for t, m in sent(SPEC, lived(SPEC, 60, START + shift)) if m.topic == "joint_states"]
    for n, (_, message) in enumerate(entry for entry in messages if entry[1].topic == "joint_states"):
        message.message.position[:] = np.sin(0.1 * n) + 2.0
    for _, message in zeros:
        message.message.position[:] = 0.0
    both = sorted([*messages, *zeros], key=lambda entry: entry[0])
    _, _ = load(write(tmp_path / "x.mcap", both), SPEC)
    assert "topic /joint_states: two streams interleave (values" in capsys.readouterr().out
    _, _ = load(write(tmp_path / "y.mcap", messages), SPEC)
    assert "interleave" not in capsys.readouterr().out


def test_a_robot_that_decides_every_two_seconds_comes_in_whole(tmp_path: Path) -> None:
    slow = msgspec.structs.replace(SPEC, rate=0.5)
    made = [_restamped(row, START + n * 2_000_000_000) for n, row in enumerate(lived(slow, 20))]
    status, found = load(write(tmp_path / "x.mcap", sent(slow, made)), slow)
    assert status == 0 and len(found) >= 19 and [row.is_first for row in found].count(True) == 1


def test_a_topic_that_is_spelled_in_two_ways_or_both_read_and_commanded_is_refused() -> None:
    observation = SPEC.observations[0]
    for topic, words in ((f"/{observation.source.topic}", "read"), (SPEC.actions[0].command.topic, "commanded")):
        other = msgspec.structs.replace(
            observation, name="again", source=msgspec.structs.replace(observation.source, topic=topic)
        )
        spec = msgspec.structs.replace(SPEC, observations=(*SPEC.observations, other))
        with pytest.raises(DataError, match=f"the spec has it as .*{words}"):
            needed_topics(spec, "/")
