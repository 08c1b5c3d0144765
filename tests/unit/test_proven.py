"""Which bundle of a run is the proven one, and that its file stays."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from robot_dreamer.bundle_names import BUNDLES, bundle_path, newest_version, proven_bundles
from robot_dreamer.commands import outcome
from robot_dreamer.learner.proven import WINDOW, Proven, lower_bound
from robot_dreamer.numbered_files import number_of
from robot_dreamer.record import INTERVENTION, RANDOM_POLICY, TAKEN_OVER
from robot_dreamer.spec import load_spec
from tests.unit.test_trainer import make, rows


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    folder = tmp_path / BUNDLES
    folder.mkdir()
    for version in range(1, 9):
        bundle_path(folder, version).write_text(f"bundle {version}")
    return folder


def fly(proven: Proven, version: int, returns: list[float]) -> None:
    for total in returns:
        proven.add(version, total)


def kept(bundles: Path) -> list[str]:
    return [path.read_text() for path in proven_bundles(bundles)]


def test_the_bound_is_that_of_students_t() -> None:
    assert lower_bound([1.0, 2.0, 3.0]) == pytest.approx(2.0 - 2.919986 / 3**0.5, abs=1e-5)
    assert lower_bound([4.0, 4.0]) == 4.0


def test_nothing_is_proven_before_enough_episodes_nor_by_chance_actions(tmp_path: Path, bundles: Path) -> None:
    proven = Proven(tmp_path, bundles)
    fly(proven, RANDOM_POLICY, [900.0] * 20)
    fly(proven, INTERVENTION, [900.0] * 20)
    assert proven.best is None and not kept(bundles)
    again = Proven(tmp_path, bundles)
    fly(again, 1, [100.0] * (WINDOW - 1))
    assert again.best is None
    fly(again, INTERVENTION, [900.0])  # a person's episode in between: the count begins anew
    fly(again, 1, [100.0] * (WINDOW - 1))
    assert again.best is None
    fly(again, 1, [100.0])
    assert again.best is not None and again.best.version == 1 and kept(bundles) == ["bundle 1"]


def test_a_lucky_episode_proves_nothing_and_a_later_collapse_leaves_the_best(tmp_path: Path, bundles: Path) -> None:
    proven = Proven(tmp_path, bundles)
    fly(proven, 2, [500.0, 510.0] * 5)
    fly(proven, 3, [990.0])  # the mean rises, and so does its doubt
    assert proven.best is not None and proven.best.version == 2
    fly(proven, 4, [700.0, 690.0] * 5)
    assert proven.best.version == 4 and kept(bundles) == ["bundle 4"]
    bundle_path(bundles, 4).unlink()  # only the last few stay
    fly(proven, 5, [100.0] * 30)
    assert kept(bundles) == ["bundle 4"]
    told = json.loads((tmp_path / "proven.json").read_text())
    assert (told["version"], told["mean"], told["episodes"]) == (4, 695.0, 10) and 690 < told["low"] < 695


def test_a_restarted_learner_keeps_what_was_proven(tmp_path: Path, bundles: Path) -> None:
    fly(Proven(tmp_path, bundles), 4, [700.0, 690.0] * 5)
    for version in range(1, 9):
        bundle_path(bundles, version).unlink()
    again = Proven(tmp_path, bundles)
    fly(again, 6, [800.0] * 10)  # that one is gone
    assert again.best is not None and again.best.version == 4 and kept(bundles) == ["bundle 4"]


def test_a_broken_note_is_said_and_found_anew(tmp_path: Path, bundles: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "proven.json").write_text("{")
    proven = Proven(tmp_path, bundles)
    assert proven.best is None and "proven.json cannot be read" in caplog.text
    fly(proven, 4, [700.0, 690.0] * 5)
    assert kept(bundles) == ["bundle 4"]


def test_the_learner_tells_it_of_every_finished_episode(tmp_path: Path) -> None:
    trainer, told = make(tmp_path), []

    class Told:
        def add(self, version: int, total: float) -> None:
            told.append((version, total))

    trainer.episodes.proven = Told()
    trainer.store.add(rows(0, 70))
    trainer.ingest()
    assert [version for version, _ in told] == [0, 0] and told[-1][1] == trainer.episodes.returns[-1]


@pytest.mark.parametrize("version", [INTERVENTION, TAKEN_OVER])
def test_an_episode_in_which_a_person_drove_says_nothing_of_a_bundle(tmp_path: Path, version: int) -> None:
    trainer, told = make(tmp_path), []

    class Told:
        def add(self, version: int, total: float) -> None:
            told.append(total)

    trainer.episodes.proven = Told()
    trainer.store.add([replace(row, policy_version=version) if row.sequence == 40 else row for row in rows(0, 93)])
    trainer.ingest()
    first, _, last = trainer.episodes.returns
    assert told == [first, last]


@pytest.mark.parametrize(
    ("returns", "best"),
    [
        ({4: 600, 5: 500, 6: 700, 7: 800, 8: 800}, "bundle-8"),  # of equals the newest
        ({4: 600, 5: 500, 6: 900, 7: 800, 8: 700}, "bundle-6"),
        ({4: 950, 5: 500, 6: 900, 7: 800, 8: 700}, "proven-4"),
        ({5: 500, 6: 900, 7: 800}, "bundle-6"),  # the guard stopped an episode of the others
        ({}, "bundle-8"),
    ],
)
def test_what_is_handed_over_is_the_best_of_the_last_and_the_proven(
    tmp_path: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch, returns: dict[int, float], best: str
) -> None:
    fly(Proven(tmp_path, bundles), 4, [700.0, 690.0] * 5)
    for version in (1, 2, 3, 4):
        bundle_path(bundles, version).unlink()
    asked = []

    def compare(candidates: list[Path], spec: object, episodes: int, seed: int, stopped: object) -> list[object]:
        asked.append((episodes, seed))
        kept = [path for path in candidates if number_of(path) in returns]
        return [type("Result", (), {"policy": path.name, "mean": returns[number_of(path)]}) for path in kept]

    monkeypatch.setattr(outcome, "compare", compare)
    found = outcome.best_bundle(load_spec("cartpole"), bundles, 10)
    assert found.name.replace("0000000", "") == f"{best}.zip" and asked == [(10, outcome.CHOICE_SEED)]
    assert outcome.best_bundle(load_spec("cartpole"), bundles, 0).name == "proven-00000004.zip"


@pytest.mark.parametrize(("newest", "stays"), [(8, True), (7, False)])
def test_evaluation_and_film_from_before_the_run_went_on_go_whenever_the_files_were_copied(
    newest: int, stays: bool, tmp_path: Path, bundles: Path
) -> None:
    """A copy without times may have written the bundles last."""
    places = [tmp_path / outcome.EVALUATION_FILE, tmp_path / "film.mp4"]
    places[0].write_text(json.dumps({"evaluation": {"version": 5}, "newest_bundle": newest}))
    places[1].write_bytes(b"film")
    for path, age in ((places[0], -60), (places[1], 60)):
        moment = bundle_path(bundles, 8).stat().st_mtime + (age if stays else -age)
        os.utime(path, (moment, moment))
    (tmp_path / "episodes.jsonl").touch()
    outcome._forget_older(tmp_path)
    assert [path.exists() for path in places] == [stays, stays]


def test_a_bundle_that_a_person_keeps_is_none_of_the_runs(tmp_path: Path, bundles: Path) -> None:
    for name in ("bundle-99.zip", "bundle-00000099-copy.zip", "bundle-99000000.zip.part"):
        (bundles / name).write_bytes(b"")
    assert newest_version(tmp_path) == 8 and newest_version(bundles) == 0


def test_a_run_with_its_proven_bundle_alone_has_nothing_older(tmp_path: Path, bundles: Path) -> None:
    for path in bundles.iterdir():
        path.unlink()
    bundle_path(bundles, 4, "proven").write_text("proven")
    (tmp_path / outcome.EVALUATION_FILE).write_text('{"newest_bundle": 0}')
    (tmp_path / "episodes.jsonl").touch()
    outcome._forget_older(tmp_path)
    assert (tmp_path / outcome.EVALUATION_FILE).exists()


def test_a_run_whose_only_episode_is_a_torn_line_comes_to_its_end(
    tmp_path: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "episodes.jsonl").write_text('{"env_step": 100, "ret')  # the power went; a restart leaves an empty file
    monkeypatch.setattr(outcome, "write_report", lambda logdir: logdir / "report.html")
    console = Console(file=io.StringIO(), width=200)
    outcome.report_outcome(load_spec("cartpole"), tmp_path, 0, console)
    assert not (tmp_path / "learning_curve.png").exists()


@pytest.mark.parametrize("error", [OSError("ffmpeg died"), ValueError("of another model"), RuntimeError("no picture")])
def test_a_film_that_fails_costs_a_run_nothing(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def film(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(outcome.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(outcome, "reconstructor", lambda *_: None)
    monkeypatch.setattr(outcome, "Film", film)
    assert not outcome._film(tmp_path / "bundle.zip", load_spec("cartpole"), tmp_path)
    assert f"no film: {error}" in caplog.text and not [*tmp_path.iterdir()]
