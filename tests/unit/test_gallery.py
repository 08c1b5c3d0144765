"""Portraits beside training: files that are whole, few, and cost a bounded share of the time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_dreamer.learner.gallery import KEPT, Gallery
from robot_dreamer.learner.progress import MetricsLog
from robot_dreamer.learner.run import Budget, Run
from robot_dreamer.numbered_files import number_of
from robot_dreamer.report.run_files import portrait_files
from tests.unit.test_trainer import config, make, rows


def test_a_run_leaves_portraits_and_their_numbers(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.store.add(rows(0, 100))
    Run(trainer, Budget(env_steps=100), publish=lambda path, version, step: None).loop()
    files = sorted((tmp_path / "portraits").iterdir())
    assert [file.suffix for file in files] == [".npz"] * len(files)
    with np.load(files[-1]) as last:
        assert int(last["update"]) == trainer.updates > 0
        assert int(last["env_step"]) == 100
        assert np.isfinite(last["rmse/dreamt/cart_position"]).any()
    boards = [file.read_bytes() for file in (tmp_path / "tensorboard").iterdir()]
    assert any(b"portrait/error/dreamt/cart_position" in board for board in boards)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert any("portrait/error/dreamt/cart_position" in line for line in lines)


def test_none_are_drawn_where_none_are_wanted(tmp_path: Path) -> None:
    trainer = make(tmp_path, config().with_run(portrait_every=0.0))
    trainer.store.add(rows(0, 100))
    Run(trainer, Budget(env_steps=100), publish=lambda path, version, step: None).loop()
    assert trainer.updates > 0
    assert not (tmp_path / "portraits").exists()


def test_the_next_one_waits_for_its_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(tmp_path)
    trainer.store.add(rows(0, 100))
    trainer.ingest()
    trainer.update()
    now = [100.0]
    monkeypatch.setattr("robot_dreamer.learner.gallery.time.monotonic", lambda: now[0])
    gallery = Gallery(trainer, every=10.0)

    def slow(*args: object, **options: object) -> dict[str, np.ndarray]:
        now[0] += 3.0  # seconds that this one takes: 2 % of 150
        return {}

    monkeypatch.setattr("robot_dreamer.learner.gallery.portrait", slow)
    assert gallery.due
    gallery.draw()
    trainer.update()
    now[0] += 149.0
    assert not gallery.due
    now[0] += 2.0
    assert gallery.due
    gallery.draw()
    assert not gallery.due  # nothing was learned since
    now[0] += 1000.0
    assert not gallery.due


def test_a_few_are_kept_and_lie_evenly_over_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(tmp_path)
    trainer.store.add(rows(0, 100))
    trainer.ingest()
    monkeypatch.setattr("robot_dreamer.learner.gallery.portrait", lambda *args, **options: {})
    place = tmp_path / "portraits"
    place.mkdir()
    persons = [place / name for name in ("portrait-best.npz", "portrait-00000010 (copy).npz", "notes.txt")]
    for path in persons:
        path.write_text("a person's own")
    gallery = Gallery(trainer, every=10.0)
    for updates in range(10, 410, 10):
        trainer.updates = updates
        gallery.draw()
    assert all(path.read_text() == "a person's own" for path in persons)
    kept = [int(path.stem.split("-")[1]) for path in sorted({*place.iterdir()} - {*persons})]
    assert [number_of(path) for path in portrait_files(tmp_path)] == kept  # which the page shows, and no other
    assert len(kept) == KEPT
    assert (kept[0], kept[-1]) == (10, 400)
    assert max(np.diff(kept)) <= 4 * min(np.diff(kept))


def test_tensorboard_shows_the_dreams_of_a_camera(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    log = MetricsLog(tmp_path)
    log.show(10, 1, {"dream/eye": np.zeros((8, 8, 3), np.uint8), "dream/gray": np.zeros((8, 8, 1), np.uint8)})
    log.close()
    (board,) = (tmp_path / "tensorboard").iterdir()
    assert b"dream/eye" in board.read_bytes() and b"dream/gray" in board.read_bytes()


def test_a_portrait_that_does_not_fit_into_memory_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def large(*args: object, **options: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("robot_dreamer.learner.gallery.portrait", large)
    trainer = make(tmp_path)
    trainer.store.add(rows(0, 100))
    assert Run(trainer, Budget(env_steps=100), publish=lambda path, version, step: None).loop()
    assert trainer.updates > 0
    told = "out of memory for a portrait (CUDA out of memory. Tried to allocate 2 GiB): none is drawn from now on"
    assert caplog.text.count(told) == 1


def test_tensorboard_gets_pictures_ever_more_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One a minute of a robot with a camera is gigabytes in a week."""
    trainer = make(tmp_path)
    run = Run(trainer, Budget(), publish=lambda path, version, step: None)
    shown: list[int] = []
    monkeypatch.setattr(run._metrics, "show", lambda step, update, pictures: shown.append(update))
    for trainer.updates in range(400, 4_000_400, 400):
        run._log_portrait({})
    assert shown[:3] == [400, 800, 1200] and shown[-1] > 3_800_000 and len(shown) < 200
    run._metrics.close()
