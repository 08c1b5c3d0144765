"""What a trainer counts: skipped updates in a row, rows before the first one; and ends that its model does not know."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import pytest

from robot_dreamer.config import load_config
from robot_dreamer.learner.trainer import TrainingError
from tests.unit.test_trainer import config, make, one_thread, rows, train  # noqa: F401


def test_updates_that_are_skipped_now_and_then_end_nothing(tmp_path: Path) -> None:
    trainer = make(tmp_path, config("max_nonfinite=2"))
    train(trainer, 0, 60)
    broken = next(trainer.agent.world_model.reward.parameters())
    for skipped in (1, 2, 3):
        whole = broken.detach().clone()
        broken.data.fill_(float("nan"))
        trainer.update()
        broken.data.copy_(whole)
        trainer.update()
        assert trainer.skipped == skipped


def test_on_a_full_disk_the_reason_why_training_ended_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(tmp_path, config("max_nonfinite=1"))
    train(trainer, 0, 60)

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trainer, "save", full)
    next(trainer.agent.world_model.reward.parameters()).data.fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite: reward, .*; no checkpoint could be written: .*No space left"):
        trainer.update()


def test_nothing_is_learned_from_before_the_prefill_is_there(tmp_path: Path) -> None:
    trainer = make(tmp_path, config("prefill=100"))
    train(trainer, 0, 80)
    assert trainer.updates == 0 and trainer.rows_missing == 20
    train(trainer, 80, 100)
    assert trainer.updates == 0 and trainer.rows_missing == 0
    train(trainer, 100, 200)
    paid = 100 * trainer.config.train_ratio / (trainer.config.batch_size * trainer.config.batch_length)
    assert 0 < trainer.updates <= paid


@pytest.mark.parametrize(
    ("preset", "settings", "told"),
    [("dreamer_v2:cpu", [], 1), ("dreamer_v2:cpu", ["model.continue_head=true"], 0), ("nano", [], 0)],
)
def test_ends_that_the_model_does_not_foretell_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, preset: str, settings: list[str], told: int
) -> None:
    trainer = make(tmp_path, load_config(preset, ["device=cpu", *settings]))
    trainer.store.add(rows(0, 62))
    assert trainer.ingest() == 62 and not caplog.text  # time limits
    trainer.store.add([dataclasses.replace(row, is_terminal=row.is_last) for row in rows(62, 155)])
    assert trainer.ingest() == 93
    assert caplog.text.count("model.continue_head=true") == told
