"""What a trainer counts: skipped updates in a row, and rows before the first one."""

from __future__ import annotations

from pathlib import Path

from tests.unit.test_trainer import config, make, one_thread, train  # noqa: F401


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


def test_nothing_is_learned_from_before_the_prefill_is_there(tmp_path: Path) -> None:
    trainer = make(tmp_path, config("prefill=100"))
    train(trainer, 0, 80)
    assert trainer.updates == 0 and trainer.rows_missing == 20
    train(trainer, 80, 100)
    assert trainer.updates == 0 and trainer.rows_missing == 0
    train(trainer, 100, 200)
    paid = 100 * trainer.config.train_ratio / (trainer.config.batch_size * trainer.config.batch_length)
    assert 0 < trainer.updates <= paid
