"""Run: what it says while it waits, trains and pauses."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path

import msgspec
import pytest

from robot_dreamer.bundle_names import written_bundles
from robot_dreamer.learner.checkpoint import has_checkpoint, load_checkpoint
from robot_dreamer.learner.run import Budget, Run
from robot_dreamer.learner.trainer import Trainer
from robot_dreamer.onboard.bundle import read_bundle, write_bundle
from tests.onboard_models import record, toy_manifest, toy_model, toy_spec
from tests.unit.test_trainer import make, rows

DEADLINE = 60.0


def await_phase(logdir: Path, phase: str) -> None:
    end, found = time.monotonic() + DEADLINE, ""
    while time.monotonic() < end:
        if (logdir / "status.json").exists():
            found = json.loads((logdir / "status.json").read_text())["phase"]
        if found == phase:
            return
        time.sleep(0.05)
    raise AssertionError(f"expected phase {phase!r}, found {found!r}")


def test_a_run_says_how_many_rows_are_missing_and_that_it_pauses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robot_dreamer.learner.run.STATUS_EVERY", 0.1)
    trainer = make(tmp_path)
    run = Run(trainer, Budget(), publish=lambda path, version, step: None)
    thread = threading.Thread(target=run.loop)
    with caplog.at_level(logging.INFO):
        thread.start()
        try:
            await_phase(tmp_path, "waiting for experience: 17 rows missing until the first update")
            trainer.store.add(rows(0, 10))
            await_phase(tmp_path, "waiting for experience: 7 rows missing until the first update")
            trainer.store.add(rows(10, 100))
            await_phase(tmp_path, "paused: no new experience")
        finally:
            run.stop()
            thread.join(DEADLINE)
    assert json.loads((tmp_path / "status.json").read_text())["phase"] == "stopped"
    assert trainer.updates > 0
    assert caplog.text.count("waiting for experience") == caplog.text.count("paused: no new experience") == 1


def test_bundles_that_a_person_keeps_there_are_neither_counted_nor_deleted(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    folder = tmp_path / "bundles"
    folder.mkdir()
    (folder / ".bundle-00000042.zip.17.tmp").write_text("half")
    kept = ["bundle-best.zip", "bundle-7.zip", "bundle-00000002 (copy).zip", "notes"]
    for name in (*kept, "bundle-00000041.zip"):
        (folder / name).write_text("x")
    run = Run(trainer, Budget(), publish=lambda path, version, step: path.write_text("y"))
    assert run.version == 41
    trainer.store.add(rows(0, 60))
    trainer.ingest()
    for _ in range(8):
        run.publish()
    assert [path.name for path in written_bundles(folder)] == [f"bundle-{n:08d}.zip" for n in range(45, 50)]
    assert all((folder / name).read_text() == "x" for name in kept)
    assert not list(folder.glob(".*"))  # what a killed learner left


def finish(trainer: Trainer, budget: Budget) -> Run:
    run = Run(trainer, budget, publish=lambda path, version, step: path.write_text("x"))
    end = threading.Timer(DEADLINE, run.stop)
    end.start()
    try:
        assert run.loop(), "stopped by the deadline"
    finally:
        end.cancel()
    return run


def test_a_budget_of_steps_reads_no_more_and_makes_every_update_that_they_pay_for(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.store.add(rows(0, 400))
    finish(trainer, Budget(env_steps=250))
    config = trainer.config
    paid = (250 - trainer.replay.length) * config.train_ratio / (config.batch_size * config.batch_length)
    assert trainer.env_steps == 250 and not trainer.due
    assert paid - 16 * paid / 250 - 1 <= trainer.updates <= paid  # the first window waits for a chunk to fill


def test_while_a_bundle_is_written_the_status_is_that_of_its_update(tmp_path: Path) -> None:
    trainer, said = make(tmp_path), []

    def publish(path: Path, version: int, step: int) -> None:
        said.append((json.loads((tmp_path / "status.json").read_text())["updates"], step))
        run.stop()

    run = Run(trainer, Budget(), publish)
    trainer.store.add(rows(0, 60))
    assert not run.loop()
    assert said and all(shown == step > 0 for shown, step in said)


def test_at_the_end_the_checkpoint_comes_before_the_bundle(tmp_path: Path) -> None:
    """Who is killed for taking too long has lost what can be made again."""
    trainer, saved = make(tmp_path), []

    def publish(path: Path, version: int, step: int) -> None:
        path.write_text("x")
        saved.append((step, load_checkpoint(tmp_path)[1].training_step if has_checkpoint(tmp_path) else -1))

    trainer.store.add(rows(0, 100))
    assert Run(trainer, Budget(env_steps=100), publish).loop()
    assert saved[-1] == (trainer.updates, trainer.updates) and trainer.updates > 1


def test_without_a_ratio_training_goes_over_the_store_until_the_epochs_are_made(tmp_path: Path) -> None:
    trainer = make(tmp_path, offline=True)
    trainer.store.add(rows(0, 100))
    finish(trainer, Budget(epochs=3))
    status = json.loads((tmp_path / "status.json").read_text())
    assert 300 <= trainer.rows_replayed < 300 + trainer.rows_replayed / trainer.updates
    assert (status["train_ratio"], status["budget_epochs"], status["env_steps"]) == (None, 3.0, 100)
    assert status["rows_replayed"] == trainer.rows_replayed


def test_parameters_of_another_run_are_published_before_the_first_update(tmp_path: Path) -> None:
    trainer, sent = make(tmp_path), []
    trainer.given = True
    run = Run(
        trainer, Budget(), publish=lambda path, version, step: (path.write_text("x"), sent.append(step), run.stop())
    )
    run.loop()
    assert sent == [0]


def test_parameters_of_another_run_are_published_by_a_later_start_too(tmp_path: Path) -> None:
    trainer, sent = make(tmp_path), []
    trainer.given = True
    trainer.save()
    trainer.store.close()
    again = make(tmp_path)
    assert again.resume()
    run = Run(
        again, Budget(), publish=lambda path, version, step: (path.write_text("x"), sent.append(step), run.stop())
    )
    run.loop()
    assert sent == [0]


def write_real_bundle(path: Path, version: int, step: int) -> None:
    spec = toy_spec()
    model, inputs, outputs = toy_model(spec)
    manifest = msgspec.structs.replace(toy_manifest(spec, inputs, outputs, version), training_step=step)
    write_bundle(path, model, manifest, record(model, inputs, outputs))


def test_a_run_that_has_nothing_left_to_do_leaves_its_bundles_as_they_are(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.store.add(rows(0, 100))
    assert Run(trainer, Budget(env_steps=100), write_real_bundle).loop()
    trainer.store.close()
    found = written_bundles(tmp_path / "bundles")
    for _ in range(2):
        again = make(tmp_path)
        assert again.resume() and Run(again, Budget(env_steps=100), write_real_bundle).loop()
        again.store.close()
        assert written_bundles(tmp_path / "bundles") == found
    write_real_bundle(found[-1], 9, trainer.updates + 7)  # of updates that a killed learner had not saved yet
    again = make(tmp_path)
    assert again.resume() and Run(again, Budget(env_steps=100), write_real_bundle).loop()
    again.store.close()
    found = written_bundles(tmp_path / "bundles")
    assert read_bundle(found[-1], None).manifest.training_step == trainer.updates
    found[-1].write_bytes(b"half of it")  # or a person has deleted it
    again = make(tmp_path)
    assert again.resume() and Run(again, Budget(env_steps=100), write_real_bundle).loop()
    again.store.close()
    assert len(written_bundles(tmp_path / "bundles")) == len(found) + 1


def test_who_stops_a_run_before_its_first_update_gets_no_bundle_of_it(tmp_path: Path) -> None:
    """A robot would fly what never learned, in the place of its first random actions."""
    trainer = make(tmp_path)
    run = Run(trainer, Budget(), write_real_bundle)
    run.stop()
    assert not run.loop() and not written_bundles(tmp_path / "bundles")
    assert run.result == "no bundle yet: nothing was learned"
    run = Run(trainer, Budget(seconds=1e-9), write_real_bundle)  # whoever started it waits for its result
    assert run.loop() and len(written_bundles(tmp_path / "bundles")) == 1 and str(run.bundle) in run.result
