"""Sensors that robots have: each type from messages to observations, by its rule, and back into a bag."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("rosbags")
pytest.importorskip("PIL")

from PIL import Image

from robot_dreamer.data.bags import new_bag, new_message
from robot_dreamer.data.inspect import inspect
from robot_dreamer.data.recording import RecordingSampler, sample_recording
from robot_dreamer.data.topics import TopicWriter
from robot_dreamer.onboard.encoding import ObservationError, encode_observation
from robot_dreamer.onboard.messages import make_reader
from robot_dreamer.onboard.observer import Observer
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import ObservationSpec, Source, SpecError, parse_spec, require_lockstep
from tests.robot_sensors import (
    RICH,
    SIDE,
    depth,
    fill_image,
    picture,
    rich_messages,
    sensor_spec,
    sensor_text,
    stamped,
)

START, PERIOD = 1_700_000_000_000_000_000, 50_000_000  # ns
SPEC = sensor_spec()


def seen(name: str, message: Any) -> Any:
    (spec,) = sensor_spec(name, "speed").observations[:1]
    return encode_observation(spec, make_reader(spec.source)(message))


def assert_rich(observation: dict[str, Any]) -> None:
    for name, expected in RICH.items():
        np.testing.assert_allclose(observation[name], expected, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(observation["camera"], picture())
    for name in ("depth_mm", "depth_m"):
        rows = observation[name][:, 0, 0]
        np.testing.assert_array_equal(rows[:4], [0, 255, 255, 128], err_msg=name)  # near, nothing, far, the middle


def test_each_type_becomes_its_observation() -> None:
    observer = Observer(SPEC, clock=lambda: 0.0)
    for topic, _, message in rich_messages(new_message, START):
        observer.receive(topic, message)
    assert observer.missing() == []
    assert_rich(observer.sample().observation)


def test_a_bag_of_all_types_gives_the_same_and_what_is_exported_reads_the_same_again(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "drivers.mcap", said())
    again = rows_of(tmp_path / "export.mcap", exported(rows))
    assert len(rows) >= 18 and len(again) >= 17
    for row in (*rows, *again):
        assert_rich(row.observation)


def said() -> list[tuple[str, str, int, Any]]:
    """(topic, type, time, message) of drivers and of somebody who commands."""
    found = []
    for n in range(20):
        stamp = START + n * PERIOD
        found += [(topic, kind, stamp, message) for topic, kind, message in rich_messages(new_message, stamp)]
        command = new_message("std_msgs/msg/Float64MultiArray")
        command.data = np.array([0.5])
        found.append(("motor", "std_msgs/msg/Float64MultiArray", stamp + 1_000_000, command))
    return found


def exported(rows: list[StepRecord]) -> list[tuple[str, str, int, Any]]:
    writer = TopicWriter(SPEC)
    return [(m.topic, m.kind, m.stamp, m.message) for row in rows for m in writer.messages(row)]


def rows_of(path: Path, messages: list[tuple[str, str, int, Any]]) -> list[StepRecord]:
    with new_bag(path, "mcap") as bag:
        for topic, kind, time, message in messages:
            bag.write(f"/{topic}", kind, time, message)
    inspection = inspect(path, SPEC, "/")
    assert inspection.problems == []
    assert not [note for note in inspection.notes if "interleave" in note or "/goal" in note]
    return list(sample_recording(path, RecordingSampler(SPEC, "r", "b"), inspection))


@pytest.mark.parametrize(
    ("name", "kind", "change", "text"),
    [
        ("camera", "CompressedImage", {"format": "16UC1; compressedDepth png"}, "expected jpeg or png"),
        ("camera", "CompressedImage", {"format": "jpeg", "data": np.zeros(9, np.uint8)}, "cannot be read"),
        ("scan", "LaserScan", {"ranges": np.ones(2, np.float32)}, "expected 3 distances or more, found 2"),
        ("voltage", "BatteryState", {"voltage": float("nan")}, r"does not measure voltage \(NaN\)"),
        (
            "scan",
            "LaserScan",
            {"ranges": np.ones(3, np.float32)},
            "limits of the sensor, found nearest 0, farthest 0; let its driver",
        ),
        ("sonar", "Range", {"range": 0.5, "max_range": float("nan")}, "found nearest 0, farthest nan"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, kind: str, change: dict[str, Any], text: str) -> None:
    message = new_message(f"sensor_msgs/msg/{kind}")
    for field, value in change.items():
        setattr(message, field, value)
    with pytest.raises(ObservationError, match=f"topic {name}: .*{text}"):
        seen(name, message)


def test_a_quaternion_of_zeros_is_refused() -> None:
    with pytest.raises(ObservationError, match="topic pose: orientation: expected a quaternion of norm 1"):
        seen("down", new_message("geometry_msgs/msg/PoseStamped"))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_orientation_is_one_observation_by_either_sign(sign: float) -> None:
    message = new_message("geometry_msgs/msg/PoseStamped")
    for name, number in zip("xyzw", (0.5, -0.5, 0.5, 0.5), strict=True):
        setattr(message.pose.orientation, name, sign * number)
    spec = ObservationSpec("turned", (4,), Source("pose", "geometry_msgs/msg/PoseStamped", "orientation"))
    found = encode_observation(spec, make_reader(spec.source)(message))
    np.testing.assert_array_equal(found, np.float32([0.5, -0.5, 0.5, 0.5]))


@pytest.mark.parametrize(("form", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA")])
def test_compressed_pictures_of_each_kind(form: str, mode: str) -> None:
    message = compressed(Image.new("RGB", (SIDE, SIDE), (200, 30, 90)).convert(mode), form)
    np.testing.assert_allclose(seen("camera", message)[3, 4], [200, 30, 90], atol=3)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (Image.new("L", (SIDE, SIDE)), "expected colours, found a grey picture"),
        (Image.new("1", (9000, 9000)), "found 9000x9000"),
        (Image.new("I;16", (4, 4)), "expected pixels of 8 bits"),
        (Image.new("RGB", (4, 4)), "expected a picture of 48x48, found 4x4"),
    ],
    ids=["grey", "bomb", "depth", "size"],
)
def test_compressed_pictures_that_are_refused(made: Any, text: str) -> None:
    with pytest.raises(ObservationError, match=text):
        seen("camera", compressed(made, "PNG"))


def compressed(made: Any, form: str) -> Any:
    file = io.BytesIO()
    made.save(file, form)
    message = new_message("sensor_msgs/msg/CompressedImage")
    message.data = np.frombuffer(file.getvalue(), np.uint8)
    return message


def test_depth_needs_a_range_and_a_range_needs_depth() -> None:
    message = new_message("sensor_msgs/msg/Image")
    fill_image(message, "mono8", np.zeros((SIDE, SIDE), np.uint8))
    with pytest.raises(ObservationError, match="expected depth in m, because it has a range, found uint8"):
        seen("depth_m", message)
    (spec,) = sensor_spec("depth_m", "speed").observations[:1]
    fill_image(message, "32FC1", depth().astype("<f4"))
    with pytest.raises(ObservationError, match="depth needs range"):
        encode_observation(msgspec.structs.replace(spec, range=()), make_reader(spec.source)(message))
    big = depth().astype(">f4")
    fill_image(message, "32FC1", big)
    message.is_bigendian = 1
    assert seen("depth_m", message)[:4, 0, 0].tolist() == [0, 255, 255, 128]


def joints(names: list[str], stamp: int) -> Any:
    message = stamped(new_message("sensor_msgs/msg/JointState"), stamp)
    message.name, message.position = names, np.arange(len(names), dtype=float)
    return message


def test_joints_of_several_nodes_are_fresh_each_and_of_one_node_each() -> None:
    now = [10.0]
    observer = Observer(sensor_spec("gripper", "arm"), clock=lambda: now[0])
    assert observer.shared == {"joints"}
    observer.receive("joints", joints(["left", "right"], START))
    assert observer.missing() == ["joints (no message yet of shoulder)"]
    observer.receive("joints", joints(["wheel"], START))
    observer.receive("joints", joints(["shoulder"], START + 5))
    assert observer.missing() == [] and observer.sample().stamp == START
    now[0] += 0.6
    observer.receive("joints", joints(["shoulder"], START + 600_000_000))
    assert observer.missing() == ["joints (silent for 0.6 s, allowed 0.5 s), for left, right"]
    observer.receive("joints", joints(["left", "right"], START + 600_000_000))
    assert observer.missing() == []
    observer.receive("joints", joints(["shoulder", "left"], START + 610_000_000))
    assert "two nodes show left" in observer.missing()[0] or "two nodes show shoulder" in observer.missing()[0]


def test_joints_that_are_others_all_at_once_are_no_sample() -> None:
    """Between the look at what is missing and the sample another thread has taken a message."""
    observer = Observer(sensor_spec("gripper", "arm"), clock=lambda: 10.0)
    observer.receive("joints", joints(["left", "right"], START))
    observer.receive("joints", joints(["shoulder"], START))
    assert observer.missing() == []
    observer.receive("joints", joints(["left"], START + 5))
    with pytest.raises(ObservationError, match="joints: no message"):
        observer.sample()


def test_what_is_held_counts_over_resets_and_says_nothing_of_time() -> None:
    now = [10.0]
    observer = Observer(sensor_spec("wanted", "goal", "speed"), clock=lambda: now[0])
    for topic, _, message in rich_messages(new_message, START):
        if topic in observer.topics:
            observer.receive(topic, message)
    now[0] += 100.0
    observer.forget(START + 1)
    assert observer.missing() == ["speed (no message yet)"]
    observer.receive("speed", stamped(new_message("geometry_msgs/msg/TwistStamped"), START + PERIOD))
    sample = observer.sample()
    assert sample.stamp == START + PERIOD and sample.observation["goal"].tolist() == [0, -4, 0]
    lockstep = Observer(sensor_spec("wanted", "speed"), lockstep=True)
    for topic, _, message in rich_messages(new_message, START):
        if topic in lockstep.topics:
            lockstep.receive(topic, message)
    assert lockstep.common_stamp() == START


@pytest.mark.parametrize(
    ("names", "old", "new", "text"),
    [
        ("scan", "beams: 3", "beams: 0", "beams of a LaserScan must be 1 to 4096, found 0"),
        ("scan", "beams: 3", "beams: 4", r"shape must be \[4\]"),
        ("scan", "range: [0.1, 8.0]", "unit: m", "a distance needs range"),
        ("speed", "field: angular", "field: angular, parts: true", "parts is for JointState only"),
        ("speed", "field: angular", "field: angular, hold: true, max_age: 3.0", "max_age has no effect beside hold"),
        ("speed", "field: angular", "field: angular, hold: true", "one observation at least must not hold"),
        ("gripper arm", "names: [shoulder], parts: true", "names: [shoulder]", "parts and hold must be the same"),
        ("depth_mm", "unit: m, range", "unit: mm, range", "for depth: expected m, found mm"),
        ("depth_mm", "range: [0.5, 2.5]", "range: [-0.5, 2.5]", "range of depth begins at 0 m"),
        ("down", "encoding: projected_gravity", "encoding: cos_sin", r"shape must be \[8\]"),
    ],
)
def test_specs_that_cannot_work_are_refused_by_name(names: str, old: str, new: str, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        parse_spec(sensor_text(*names.split()).replace(old, new, 1))


def test_a_sensor_without_a_stamp_has_no_lockstep_unless_it_is_held() -> None:
    require_lockstep(sensor_spec("speed", "wanted"))
    with pytest.raises(SpecError, match="observation wanted: a geometry_msgs/msg/Twist has no stamp"):
        require_lockstep(parse_spec(sensor_text("speed", "wanted").replace(", hold: true", "")))


def test_what_the_simulation_does_not_show_is_named() -> None:
    robots = pytest.importorskip("sim.robot")
    spec = msgspec.structs.replace(sensor_spec("sonar", "speed"), simulation={"model": "dm_control:cartpole/swingup"})
    with pytest.raises(SpecError, match="observation 'sonar': the simulation shows no such sensor .*msg/Range"):
        robots.SimRobot(spec, 0)
