"""What programs made when hashes covered topics, ages and limits of episodes too is adopted where the numbers agree.

tests/older/version_1.zip was written by commit dd7e5b8: the log directory of a run of three updates with its store,
checkpoint and bundle, the spool of its robot, and the robot's YAML file.
"""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
import zipfile
from pathlib import Path

import pytest
import torch

from benchmarks.synthetic import synthetic_row
from robot_dreamer.cli import main
from robot_dreamer.config import load_config
from robot_dreamer.data.source import open_store, rows_of
from robot_dreamer.learner.checkpoint import load_checkpoint
from robot_dreamer.learner.trainer import Trainer
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.spool import Spool
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.spec import RobotSpec, SpecError, load_spec, parse_spec
from robot_dreamer.spec.robot import _tell
from tests.unit.test_trainer import one_thread  # noqa: F401

ARCHIVE = Path(__file__).parents[1] / "older" / "version_1.zip"
TUNED = {
    "max_age: 0.2": "max_age: 0.3",
    "topic: motor/commands": "topic: other/commands",
    "max_steps: 20": "max_steps: 30",
    "neutral: [0.5, 0.0]": "neutral: [0.0, 0.0]",
    "stale_seconds: 1.0": "stale_seconds: 3.0",
}
CHANGED = {
    "unit": ("unit: rad/s", "unit: deg/s", 'unit: ours "deg/s", theirs "rad/s"'),
    "scale": ("unit: rad/s", "unit: rad/s, scale: [2.0]", "scale: ours [2.0], theirs not given"),
    "order": (
        "low: [-2.0, 0.0], high: [2.0, 1.0]",
        "low: [0.0, -2.0], high: [1.0, 2.0]",
        "low[0]: ours 0.0, theirs -2",
    ),
    "expression": ("0.1 * effort", "0.2 * effort", 'expression: ours "angle[0] - 0.2 * effort ** 2", theirs "angle[0]'),
    "what it uses": ("field: effort", "field: velocity", 'watched[0].source.field: ours "velocity", theirs "effort"'),
}
CONFIG = load_config(
    "nano",
    [
        *("device=cpu", "train_ratio=6", "batch_size=2", "batch_length=4", "replay_capacity=64", "model.deter=8"),
        *("model.hidden=4", "model.stoch=2", "model.classes=2", "model.units=4", "model.bins=3"),
    ],
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path / "run")
    return tmp_path / "run"


def changed(run: Path, *changes: tuple[str, str]) -> RobotSpec:
    text = (run / "robot.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_spec(text)


@pytest.fixture
def tuned(run: Path) -> RobotSpec:
    return changed(run, *TUNED.items())


@pytest.fixture
def before_draws(tmp_path: Path) -> Path:
    """Store (42 rows in blocks of 16) and spool (10) of format 3, by commit 255e1ae: blocks had no draws yet."""
    with zipfile.ZipFile(ARCHIVE.with_name("version_3.zip")) as archive:
        archive.extractall(tmp_path / "before")
    return tmp_path / "before"


def test_files_of_before_draws_are_read_and_go_on_and_blocks_without_them_are_the_same(before_draws: Path) -> None:
    spec = load_spec(before_draws / "robot.yaml")
    old = [synthetic_row(spec, "toy", "boot", i, 20) for i in range(42)]
    database = sqlite3.connect(before_draws / "experience.sqlite")
    blocks = [blob for (blob,) in database.execute("SELECT blob FROM blocks ORDER BY id")]
    assert database.execute("SELECT value FROM meta WHERE name = 'format'").fetchone() == ("3",)
    database.close()
    assert [BlockCodec(spec).encode(old[i : i + 16]) for i in range(0, 42, 16)] == blocks
    reader = open_store(before_draws)
    assert [row.sequence for row in rows_of(reader)] == list(range(42))
    reader.close()
    spool = Spool(before_draws / "robot/spool.sqlite", spec, "toy", 1 << 30, "drop_oldest")
    assert [block.rows for block in spool.read(0, 1 << 20, 64)] == [10]
    spool.close()
    store = ExperienceStore(before_draws / "experience.sqlite", spec)
    new = dataclasses.replace(synthetic_row(spec, "toy", "boot", 42, 20), drawn={"mass": {"trunk": 5.25}})
    assert store.add([new]).stored == 1
    assert [row.drawn for _, row in store.read(0, 99)] == [{}] * 42 + [new.drawn]
    store.close()


def open_file(kind: str, run: Path, spec: RobotSpec) -> None:
    """What refuses another contract."""
    if kind == "store":
        ExperienceStore(run / "experience.sqlite", spec).close()
    elif kind == "spool":
        Spool(run / "robot/spool.sqlite", spec, "toy", 1 << 30, "drop_oldest").close()
    elif kind == "checkpoint":
        load_checkpoint(run, spec=spec)
    else:
        read_bundle(run / "bundle-00000003.zip", spec)


KINDS = ("store", "spool", "checkpoint", "bundle")


@pytest.mark.parametrize("kind", KINDS)
def test_what_merely_tunes_is_told_and_refuses_nothing(
    run: Path, tuned: RobotSpec, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    _tell.cache_clear()  # once in a process
    with caplog.at_level(logging.WARNING):
        open_file(kind, run, tuned)
    (told,) = [r.getMessage() for r in caplog.records if "merely tunes" in r.getMessage()]
    assert "observations[0].source.max_age: ours 0.3, theirs 0.2" in told
    assert 'actions[0].command.topic: ours "other/commands", theirs "motor/commands"' in told
    assert "actions[0].neutral[0]: ours 0.0, theirs 0.5" in told
    assert "episode.max_steps: ours 30, theirs 20" in told and "safety.stale_seconds: ours 3.0, theirs 1.0" in told


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGED)
def test_what_means_something_else_is_refused_with_both_sides(run: Path, kind: str, change: str) -> None:
    old, new, shown = CHANGED[change]
    spec = changed(run, (old, new), *TUNED.items())
    with pytest.raises((SpecError, ValueError)) as refused:
        open_file(kind, run, spec)
    assert shown in str(refused.value) and "max_age" not in str(refused.value)


def test_rows_come_back_and_new_ones_follow(run: Path, tuned: RobotSpec) -> None:
    old = [synthetic_row(tuned, "toy", "boot", i, 20) for i in range(42)]
    store = ExperienceStore(run / "experience.sqlite", tuned)
    assert store.add([old[-1], synthetic_row(tuned, "toy", "boot", 42, 20)]).stored == 1
    store.close()
    reader = open_store(run)  # with the spec of before
    found = list(rows_of(reader))
    reader.close()
    assert [row.sequence for row in found] == list(range(43))
    assert all((a.observation["angle"] == b.observation["angle"]).all() for a, b in zip(found, old, strict=False))


def test_a_run_goes_on(run: Path, tuned: RobotSpec) -> None:
    store = ExperienceStore(run / "experience.sqlite", tuned)
    trainer = Trainer(tuned, CONFIG, store, run)
    assert trainer.resume() and trainer.updates == 3 and trainer.env_steps == 42
    store.add([synthetic_row(tuned, "toy", "boot", i, 20) for i in range(42, 60)])
    trainer.ingest()
    while trainer.due:
        trainer.update()
    assert trainer.updates > 3 and all(torch.isfinite(p).all() for p in trainer.agent.parameters())
    store.close()


def test_a_bundle_acts(run: Path, tuned: RobotSpec) -> None:
    bundle = read_bundle(run / "bundle-00000003.zip", tuned)
    assert bundle.manifest.version == 3 and bundle.spec is tuned
    OnnxPolicy(bundle).verify()


def test_a_spool_drains_into_a_learner(run: Path, tuned: RobotSpec, tmp_path: Path) -> None:
    store = ExperienceStore(tmp_path / "new.sqlite", tuned)
    server = LinkServer(store, tuned, "tcp://127.0.0.1:*")
    server.start()
    link = RobotLink(tuned, "toy", run / "robot", server.address)
    link.start()
    link.stop(20.0)
    server.stop()
    assert store.count() == 10 and not server.bad_messages and not link.status().rejected
    assert [row.sequence for _, row in store.read(0, 20)] == list(range(10))
    store.close()


def test_a_damaged_block_stays_damaged(run: Path, tuned: RobotSpec) -> None:
    spool = Spool(run / "robot/spool.sqlite", tuned, "toy", 1 << 30, "drop_oldest")
    (block, *_) = spool.read(0, 1 << 20, 64)
    spool.close()
    today, before = BlockCodec(tuned), BlockCodec(tuned, changed(run))
    assert len(today.decode(block.blob)) == block.rows
    spoiled = bytearray(block.blob)
    spoiled[4:12] = bytes.fromhex(changed(run).hashes[1])[:8]  # as version 1 wrote it, but for the checksum
    with pytest.raises(ValueError, match="changed after it was recorded"):
        before.restamped(spoiled)
    assert today.restamped(spoiled) is spoiled  # of a spec that it does not know


@pytest.mark.parametrize("refused", [False, True])
def test_import_of_a_store_says_what_it_takes(
    run: Path, tmp_path: Path, refused: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (run / "robot.yaml").read_text().replace("max_age: 0.2", "max_age: 0.3")
    new = tmp_path / "new.yaml"
    new.write_text(text.replace("rad/s", "deg/s") if refused else text)
    arguments = ["data", "import", str(run), "--spec", str(new), "--store", str(tmp_path / "taken.sqlite")]
    assert main(arguments) == (2 if refused else 0)
    said = capsys.readouterr()
    assert "taken, it merely tunes: observations[0].source.max_age: ours 0.3, theirs 0.2" in said.out
    if refused:
        assert 'observations[1].unit: ours "deg/s", theirs "rad/s"' in said.err
        assert not (tmp_path / "taken.sqlite").exists()
        return
    assert "42 rows stored" in said.out
    reader = open_store(tmp_path / "taken.sqlite")
    assert reader.count() == 42 and reader.spec == load_spec(new)
    reader.close()
