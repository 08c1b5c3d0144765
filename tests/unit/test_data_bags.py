"""Bags: what comes out of a store goes back into one, every bit; and what is refused."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

pytest.importorskip("rosbags")

from benchmarks.synthetic import synthetic_row
from robot_dreamer.cli import main
from robot_dreamer.data.archive import Archiver
from robot_dreamer.data.bags import messages, new_bag, open_bag
from robot_dreamer.data.errors import DataError
from robot_dreamer.data.export import _segment
from robot_dreamer.data.source import rows_of
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import RecordError, StepRecord, validate_record
from robot_dreamer.spec import RobotSpec, load_spec

SPEC = load_spec("cartpole")
_CLASSES = {"low": (), "high": (), "neutral": (), "values": ((-1.0,), (0.0,), (1.0,))}
DISCRETE = msgspec.structs.replace(SPEC, actions=(msgspec.structs.replace(SPEC.actions[0], **_CLASSES),))


def fill(path: Path, spec: RobotSpec = SPEC, *, robots: tuple[str, ...] = ("r1",), rows: int = 250) -> list[StepRecord]:
    made = [synthetic_row(spec, robot, f"boot{i}", n) for robot in robots for i in range(2) for n in range(rows)]
    store = ExperienceStore(path, spec)
    assert store.add(made).stored == len(made)
    store.close()
    return made


def stored(path: Path, spec: RobotSpec = SPEC) -> list[StepRecord]:
    store = ExperienceStore(path, spec)
    try:
        return list(rows_of(store))
    finally:
        store.close()


def assert_same(ours: list[StepRecord], theirs: list[StepRecord]) -> None:
    def key(row: StepRecord) -> tuple[str, str, int]:
        return row.robot, row.boot, row.sequence

    assert len(ours) == len(theirs)
    for a, b in zip(sorted(ours, key=key), sorted(theirs, key=key), strict=True):
        for field in dataclasses.fields(StepRecord):
            x, y = getattr(a, field.name), getattr(b, field.name)
            if isinstance(x, dict) and field.name != "drawn":
                assert x.keys() == y.keys()
                for name in x:
                    assert x[name].dtype == y[name].dtype and np.array_equal(x[name], y[name]), (field.name, name)
            else:
                assert x == y and type(x) is type(y), field.name


@pytest.mark.parametrize("name", ["x.mcap", "x"])
@pytest.mark.parametrize("spec", [SPEC, load_spec("cartpole_camera"), load_spec("quadruped"), DISCRETE])
def test_every_field_comes_back_and_twice_adds_nothing(tmp_path: Path, spec: RobotSpec, name: str) -> None:
    made = fill(tmp_path / "a.sqlite", spec, robots=("r1", "9-lives"), rows=120)
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / name)]) == 0
    for _ in range(2):
        assert main(["data", "import", str(tmp_path / name), "--store", str(tmp_path / "b.sqlite")]) == 0
        assert_same(made, stored(tmp_path / "b.sqlite", spec))


def test_the_order_of_each_robots_rows_is_kept_though_simulated_time_began_again(tmp_path: Path) -> None:
    made = fill(tmp_path / "a.sqlite")  # both boots have the same stamps
    main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x.mcap")])
    main(["data", "import", str(tmp_path / "x.mcap"), "--store", str(tmp_path / "run")])
    again = stored(tmp_path / "run" / "experience.sqlite")
    assert [(r.boot, r.sequence) for r in again] == [(r.boot, r.sequence) for r in made]


def test_a_chosen_robot_and_its_episodes_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "a.sqlite", robots=("r1", "r2"))
    chosen = ["--robot", "r2", "--episodes", "2:4"]  # the cut third episode of boot0, the first of boot1
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x.mcap"), *chosen]) == 0
    assert main(["data", "import", str(tmp_path / "x.mcap"), "--store", str(tmp_path / "b.sqlite")]) == 0
    found = {(row.robot, row.boot, row.episode) for row in stored(tmp_path / "b.sqlite")}
    assert found == {("r2", "boot0", 2), ("r2", "boot1", 0)}
    assert "202 rows are missing" in capsys.readouterr().out
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "y"), "--robot", "r3"]) == 2
    assert "no rows of robot 'r3'; the store holds: r1, r2" in capsys.readouterr().err
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "y"), "--episodes", "9"]) == 2
    assert "6 episodes of r1, 6 episodes of r2" in capsys.readouterr().err
    assert not (tmp_path / "y").exists() and not list(tmp_path.glob("*.part"))


def test_earlier_rows_after_later_ones_are_reported_not_lost_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "a.sqlite")
    for name, episodes in (("late.mcap", "1"), ("early.mcap", "0")):
        output = ["--output", str(tmp_path / name), "--episodes", episodes]
        assert main(["data", "export", str(tmp_path / "a.sqlite"), *output]) == 0
    assert main(["data", "import", str(tmp_path / "late.mcap"), "--store", str(tmp_path / "b.sqlite")]) == 0
    assert main(["data", "import", str(tmp_path / "early.mcap"), "--store", str(tmp_path / "b.sqlite")]) == 1
    assert "101 rows rejected as late" in capsys.readouterr().out


def test_ordinary_messages_are_on_the_topics_of_the_spec(tmp_path: Path) -> None:
    made = fill(tmp_path / "a.sqlite", load_spec("quadruped"), rows=30)
    main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x")])
    with open_bag(tmp_path / "x") as bag:
        kinds = {c.topic: c.msgtype for c in bag.connections}
        assert kinds["/imu/data"] == "sensor_msgs/msg/Imu" and kinds["/joint_states"] == "sensor_msgs/msg/JointState"
        assert kinds["/position_controller/commands"] == "std_msgs/msg/Float64MultiArray"
        first: dict[str, object] = {}
        for topic, time, data, kind in messages(bag, list(bag.connections)):
            first.setdefault(topic, (time, bag.deserialize(data, kind)))
    row, spec = made[0], load_spec("quadruped")
    time, imu = first["/imu/data"]
    assert time == row.stamp_capture == imu.header.stamp.sec * 10**9 + imu.header.stamp.nanosec
    assert [imu.angular_velocity.x, imu.angular_velocity.y, imu.angular_velocity.z] == pytest.approx(
        row.observation["angular_velocity"].tolist()
    )
    _, joints = first["/joint_states"]
    assert joints.name == list(spec.observations[3].source.names) and len(joints.effort) == 0
    np.testing.assert_allclose(joints.velocity, row.observation["joint_velocity"])
    _, command = first["/position_controller/commands"]
    np.testing.assert_allclose(command.data, spec.actions[0].to_command(row.action["legs"]))
    _, task = first["/task"]
    assert dict(zip(task.name, task.position, strict=True)) == {"reward": 0.0, "terminal": 0.0}


def test_another_spec_is_refused_with_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "a.sqlite")
    main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x.mcap")])
    other = tmp_path / "other.yaml"
    other.write_text(SPEC.to_json().replace('"rate":25.0', '"rate":50.0'))
    for command in (["--spec", str(other), "--store", str(tmp_path / "b.sqlite")], ["--spec", "quadruped"]):
        store = [] if "--store" in command else ["--store", str(tmp_path / "b.sqlite")]
        assert main(["data", "import", str(tmp_path / "x.mcap"), *command, *store]) == 2
    assert "rate: ours 50.0, theirs 25.0" in capsys.readouterr().err
    assert not (tmp_path / "b.sqlite").exists()
    fill(tmp_path / "camera.sqlite", load_spec("cartpole_camera"), rows=3)
    assert main(["data", "import", str(tmp_path / "x.mcap"), "--store", str(tmp_path / "camera.sqlite")]) == 2
    assert "cartpole_camera" in capsys.readouterr().err


def test_a_damaged_row_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "a.sqlite", rows=20)
    main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x")])
    blob = Archiver(SPEC).encode(synthetic_row(SPEC, "r1", "boot0", 7))
    file = tmp_path / "x" / "x.db3"
    content = bytearray(file.read_bytes())
    content[content.index(blob) + len(blob) - 1] ^= 1
    file.write_bytes(content)
    assert main(["data", "import", str(tmp_path / "x"), "--store", str(tmp_path / "b.sqlite")]) == 2
    assert "row 7 on /robot_dreamer/rows: its checksum is wrong" in capsys.readouterr().err


@pytest.mark.parametrize("cut", [0, 5, 1000])
def test_a_bag_that_was_not_closed_is_refused_with_advice(
    tmp_path: Path, cut: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "a.sqlite", rows=20)
    main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x.mcap")])
    (tmp_path / "x.mcap").write_bytes((tmp_path / "x.mcap").read_bytes()[:cut])
    assert main(["data", "import", str(tmp_path / "x.mcap"), "--store", str(tmp_path / "b.sqlite")]) == 2
    assert "mcap recover" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "odd"), [("arm#2", "#"), ("arm?", r"\?"), ("arm%41", "%")])
def test_a_name_that_sqlite_would_take_for_another_is_refused(tmp_path: Path, name: str, odd: str) -> None:
    with (
        pytest.raises(DataError, match=f"a bag in SQLite cannot lie where a name has {odd}"),
        new_bag(tmp_path / name, "rosbag2"),
    ):
        pass
    assert not list(tmp_path.iterdir())
    fill(tmp_path / "a.sqlite", rows=20)
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x")]) == 0
    (tmp_path / "x").rename(tmp_path / name)
    with pytest.raises(DataError, match=f"where a name has {odd}"), open_bag(tmp_path / name):
        pass


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "a.sqlite", rows=20)
    (tmp_path / "x.mcap").write_text("precious")
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x.mcap")]) == 2
    assert "is there already" in capsys.readouterr().err and (tmp_path / "x.mcap").read_text() == "precious"


def test_no_store_no_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", str(tmp_path)]) == 2
    assert "experience.sqlite is not there" in capsys.readouterr().err
    (tmp_path / "x.sqlite").write_text("something else entirely, and longer than a header of SQLite " * 20)
    assert main(["data", "list", str(tmp_path / "x.sqlite")]) == 2
    assert "cannot be read as an experience store" in capsys.readouterr().err


def test_the_archive_refuses_what_does_not_fit() -> None:
    row = synthetic_row(SPEC, "r1", "b", 0)
    blob = Archiver(SPEC).encode(row)
    with pytest.raises(DataError, match="observation: expected .*image"):
        Archiver(load_spec("cartpole_camera")).decode(blob)
    with pytest.raises(DataError, match="checksum"):
        Archiver(SPEC).decode(b"")


def test_nonsense_behind_a_good_checksum_is_refused() -> None:
    """Whatever the bytes are, the answer is DataError or a row that fits."""
    rng, archiver = random.Random(0), Archiver(SPEC)
    good = archiver.encode(synthetic_row(SPEC, "r1", "b", 3))[4:]
    refused = 0
    for _ in range(5000):
        body = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        body = body[: rng.randrange(len(body))] if rng.random() < 0.2 else body
        try:
            validate_record(archiver.decode(zlib.crc32(body).to_bytes(4, "little") + body), SPEC)
        except DataError:
            refused += 1
    assert 2000 < refused < 5000
    for name, value in (("robot", "../up"), ("boot", "x" * 65), ("sequence", 2**63), ("stamp_capture", -(2**64))):
        row = dataclasses.replace(synthetic_row(SPEC, "r1", "b", 3), **{name: value})
        with pytest.raises((DataError, RecordError)):
            archiver.decode(archiver.encode(row))


@pytest.mark.parametrize("package", ["rosbags", "rich"])
def test_without_a_library_the_extra_is_named(tmp_path: Path, package: str) -> None:
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('No module named {package}')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    command = [sys.executable, "-m", "robot_dreamer.cli", "data", "import", "x.mcap", "--store", "y"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and "robot_dreamer[data]" in result.stderr and package in result.stderr


def test_a_learner_trains_from_an_imported_store(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from robot_dreamer.config import load_config
    from robot_dreamer.learner.trainer import Trainer

    torch.set_num_threads(1)
    made = fill(tmp_path / "a.sqlite")
    main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x.mcap")])
    main(["data", "import", str(tmp_path / "x.mcap"), "--store", str(tmp_path / "run")])
    store = ExperienceStore(tmp_path / "run" / "experience.sqlite", SPEC)
    trainer = Trainer(SPEC, load_config("nano", ["device=cpu", "train_ratio=6"]), store, tmp_path / "run")
    while trainer.ingest():
        while trainer.due:
            trainer.update()
    store.close()
    assert trainer.env_steps == len(made) and len(trainer.replay) > 450 and trainer.updates > 3


def test_a_store_may_be_listed_and_exported_while_its_learner_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fill(tmp_path / "a.sqlite", rows=30)
    learner = ExperienceStore(tmp_path / "a.sqlite", SPEC)
    more = [synthetic_row(SPEC, "r1", "boot1", n) for n in range(30, 40)]
    with learner.transaction():
        learner.add_chunk("r1", "boot1", -1, 29, [])  # a transaction is open
        assert main(["data", "list", str(tmp_path / "a.sqlite")]) == 0
        assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "x.mcap")]) == 0
    assert learner.add(more).stored == 10
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "y.mcap")]) == 0
    assert main(["data", "import", str(tmp_path / "x.mcap"), "--store", str(tmp_path / "a.sqlite")]) == 2
    assert "is in use by process" in capsys.readouterr().err
    learner.close()
    for name, rows in (("x", made), ("y", [*made, *more])):
        assert (
            main(["data", "import", str(tmp_path / f"{name}.mcap"), "--store", str(tmp_path / f"{name}.sqlite")]) == 0
        )
        assert_same(rows, stored(tmp_path / f"{name}.sqlite"))


def test_robots_have_names_of_their_own_in_a_bag() -> None:
    taken: list[str] = []
    for robot, name in (("arm-1", "arm_1"), ("arm.1", "arm_1_2"), ("9--a", "robot_9_a"), ("arm_1", "arm_1_3")):
        taken.append(_segment(robot, taken))
        assert taken[-1] == name
