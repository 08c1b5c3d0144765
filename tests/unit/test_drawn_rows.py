"""What a simulated robot draws for an episode goes with its rows: to the learner's files and into archives."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from robot_dreamer.cli import main
from robot_dreamer.data.archive import Archiver
from robot_dreamer.data.errors import DataError
from robot_dreamer.data.source import open_store, rows_of
from robot_dreamer.learner.local import LocalActor
from robot_dreamer.learner.progress import EpisodeLog
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.record import StepRecord
from robot_dreamer.report.history import EpisodeReader
from sim.environments import make_environment
from sim.robot import SimRobot
from tests.spools import SPEC
from tests.unit.test_draws import DRAWN, rows
from tests.varied import varied

VARIED = """
vary:
  - {quantity: mass, of: hand, range: [0.5, 2.0], when: [0.02, 0.05]}
  - {quantity: noise, of: joint_states.position, range: [0.0, 0.1]}
  - {quantity: centre_of_mass, of: fore, range: [-0.01, 0.01]}
delay: {sensors: {seconds: [0.0, 0.02]}}
"""


def lived(folder: Path, steps: int, reset_service: bool = True) -> tuple[list[StepRecord], ExperienceStore, SimRobot]:
    """Rows of a robot with episodes of three actions, the store that has them, and the same robot before any reset."""
    varied(folder, VARIED)
    file = folder / "varied.yaml"
    text = file.read_text().replace("max_steps: 20", "max_steps: 3")
    file.write_text(text if reset_service else text.replace(", reset_service: reset", ""))
    environment = make_environment(f"robot:{file}", seed=7)
    store = ExperienceStore(folder / "experience.sqlite", environment.spec)
    actor = LocalActor(environment, RandomPolicy(environment.spec, 0), store)
    for _ in range(steps):
        actor.step()
    actor.flush()
    return [row for _, row in store.read(0, 10**6)], store, SimRobot(environment.spec, 7)


def test_each_episodes_draw_is_in_its_first_row_and_in_the_learners_files(tmp_path: Path) -> None:
    from robot_dreamer.learner.trainer import Trainer
    from tests.unit.test_older_files import CONFIG

    found, store, reference = lived(tmp_path, 12)
    expected: list[Any] = []
    for _ in range(3):
        reference.reset()
        expected.append({name: entry for name, entry in reference.drawn.items() if name != "events"})
    assert expected[0].keys() == {"mass", "noise", "centre_of_mass", "delay"} and expected[0] != expected[1]
    assert [row.drawn for row in found if row.is_first] == expected
    assert not any(row.drawn for row in found if not row.is_first)
    Trainer(store.spec, CONFIG, store, tmp_path).ingest()
    store.close()
    lines = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert [line["drawn"] for line in lines] == expected
    read = EpisodeReader(tmp_path / "episodes.jsonl").read()
    assert read[1].drawn["mass, hand"] == expected[1]["mass"]["hand"]
    assert read[2].drawn["centre_of_mass, fore [2]"] == expected[2]["centre_of_mass"]["fore"][2]


def test_a_robot_that_nobody_resets_says_nothing_of_its_draws(tmp_path: Path) -> None:
    found, store, _ = lived(tmp_path, 9, reset_service=False)
    store.close()
    assert sum(row.is_first for row in found) == 3 and not any(row.drawn for row in found)


def test_episodes_whose_first_row_is_missing_are_not_given_the_draws_of_another(tmp_path: Path) -> None:
    log = EpisodeLog(tmp_path / "episodes.jsonl")
    made = rows(9, steps=2)
    for number, row in enumerate(made):
        if number != 3:
            log.add(number + 1, row)
    lines = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert [(line["env_step"], line["drawn"]["n"]) for line in lines] == [(3, 0), (9, 2)]


@pytest.mark.parametrize("output", ["x.mcap", "set"])
def test_draws_outlive_the_run_in_archives(tmp_path: Path, output: str) -> None:
    lerobot = output == "set"
    for needed in ("pyarrow", "av") if lerobot else ("rosbags",):
        pytest.importorskip(needed)
    made = [dataclasses.replace(x, drawn={}) if x.episode == 1 else x for x in rows(9, steps=2)]
    store = ExperienceStore(tmp_path / "a.sqlite", SPEC)
    store.add(made)
    store.close()
    options = ["--format", "lerobot"] if lerobot else []
    assert main(["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / output), *options]) == 0
    assert main(["data", "import", str(tmp_path / output), "--store", str(tmp_path / "b.sqlite")]) == 0
    reader = open_store(tmp_path / "b.sqlite")
    assert [row.drawn for row in rows_of(reader)] == [row.drawn for row in made]
    reader.close()


def test_an_archived_row_without_draws_is_what_it_was_before() -> None:
    archiver = Archiver(SPEC)
    first, second = rows(2)
    blobs = [archiver.encode(first), archiver.encode(second)]
    assert [archiver.decode(blob).drawn for blob in blobs] == [first.drawn, {}]
    assert ["drawn" in msgspec.msgpack.decode(blob[4:]) for blob in blobs] == [True, False]
    body = msgspec.msgpack.encode({**msgspec.msgpack.decode(blobs[1][4:]), "drawn": DRAWN})
    with pytest.raises(DataError, match="expected none on a row that is not is_first"):
        archiver.decode(zlib.crc32(body).to_bytes(4, "little") + body)
