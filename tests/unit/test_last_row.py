"""A run goes on with the store that it was trained with, and with no other one that is merely long enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_dreamer.data.salvage import salvage
from robot_dreamer.learner.checkpoint import CheckpointError
from robot_dreamer.link.store import ExperienceStore
from tests.unit.test_trainer import SPEC, make, one_thread, rows, train  # noqa: F401


def trained(logdir: Path) -> Path:
    """A run that was saved at row 100; returns its store."""
    trainer = make(logdir)
    train(trainer, 0, 100)
    trainer.save()
    trainer.store.close()
    return trainer.store.path


def test_a_store_that_has_other_rows_in_their_place_is_refused(tmp_path: Path) -> None:
    """Ten rows were lost with a damaged block, and more have come since: it is as long as the checkpoint's."""
    path = trained(tmp_path)
    path.unlink()
    store = ExperienceStore(path, SPEC)
    store.add([*rows(0, 40), *rows(50, 120)])
    store.close()
    again = make(tmp_path)
    told = r"has seen row 100 \(cartpole/boot/99\).*that row is cartpole/boot/109.*data salvage .*--init-from"
    with pytest.raises(CheckpointError, match=told):
        again.resume()
    again.store.close()


def test_a_salvaged_store_that_lost_nothing_goes_on(tmp_path: Path) -> None:
    path = trained(tmp_path)
    assert salvage(path, tmp_path / "new.sqlite").blocks == 0
    (tmp_path / "new.sqlite").replace(path)
    again = make(tmp_path)
    assert again.resume() and again.env_steps == 100
    again.store.close()
