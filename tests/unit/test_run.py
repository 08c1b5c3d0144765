"""Run: what it says while it waits, trains and pauses."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path

import pytest

from robot_dreamer.learner.run import Budget, Run
from robot_dreamer.onboard.bundle import written_bundles
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
