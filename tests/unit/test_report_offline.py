"""What is shown of a run that learns from rows that were there: no experience comes along which to count."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import msgspec
import pytest

from robot_dreamer.learner.progress import MetricsLog
from robot_dreamer.learner.run import Budget, Run
from robot_dreamer.report.card import card
from robot_dreamer.report.page import write_report
from robot_dreamer.report.run_files import read_run
from tests.made_up_runs import make_run, status, write_lines
from tests.unit.test_report_page import text_of
from tests.unit.test_trainer import make, rows


@pytest.fixture
def offline(tmp_path: Path) -> Path:
    """A run of which every line of metrics.jsonl has the same environment step."""
    logdir = make_run(tmp_path / "run")
    lines = [{"env_step": 480, "update": 10 * i, "time": float(i), "kl": 1.0 / i} for i in range(1, 9)]
    write_lines(logdir / "metrics.jsonl", lines)
    (logdir / "status.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(status(12), train_ratio=None)))
    (logdir / "evaluation.json").unlink()
    return logdir


def test_its_curves_go_along_its_updates(offline: Path) -> None:
    assert read_run(offline).series("kl")[0] == [10 * i for i in range(1, 9)]
    page = write_report(offline)
    (chart,) = [x for x in page.read_text().split("<figure>") if "<h3>KL of posterior and prior</h3>" in x]
    assert ">updates<" in chart and "rows of experience" not in chart


def test_returns_of_its_episodes_are_not_called_its_own(offline: Path) -> None:
    assert "the returns are those of the episodes that it learns from" in text_of(write_report(offline))
    assert "episodes that it learned from, whoever acted: " in card(read_run(offline), [], {})
    online = make_run(offline.with_name("online"))
    (online / "evaluation.json").unlink()
    assert "the returns are those of acting with noise" in text_of(write_report(online))
    assert "episodes of the training, acted with noise: " in card(read_run(online), [], {})


@pytest.mark.parametrize(("by_updates", "steps"), [(False, [480, 480]), (True, [3, 6])])
def test_tensorboard_counts_what_changes(tmp_path: Path, by_updates: bool, steps: list[int]) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = MetricsLog(tmp_path, by_updates)
    for update in (3, 6):
        log.write(480, update, {"kl": 1.0})
    log.close()
    board = events.EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("kl")] == steps


def test_rows_that_another_robot_lived_do_not_shift_the_curves_against_the_returns(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.store.add([dataclasses.replace(row, robot="demonstration-arm") for row in rows(0, 60)])
    trainer.store.add(rows(0, 40))
    Run(trainer, Budget(env_steps=40), publish=lambda path, version, step: None).loop()
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["env_step"] == 40 and trainer.env_steps == 100
