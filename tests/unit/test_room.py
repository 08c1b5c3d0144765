"""A run on a full disk waits, says so, and goes on when there is room."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from robot_dreamer.learner import checkpoint, latents, room, run
from robot_dreamer.learner.checkpoint import load_checkpoint
from robot_dreamer.learner.checkpoint_meta import FOLDER, numbered
from robot_dreamer.learner.room import is_full
from robot_dreamer.learner.run import Budget, Run
from robot_dreamer.link.database import disk_advice
from robot_dreamer.link.errors import LinkError
from tests.unit.test_trainer import make, rows
from tests.waiting import until


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "STATUS_EVERY", 0.01)


def full_for(monkeypatch: pytest.MonkeyPatch, tries: int) -> list[str]:
    """Checkpoints find a full disk so many times, in the words of safetensors; what they leave then is nothing."""
    write, said = safetensors.torch.save_file, []

    def refuse(tensors: dict[str, torch.Tensor], path: Path) -> None:
        if len(said) == tries:
            write(tensors, path)
            return
        path.write_bytes(b"half")
        said.append(path.name)
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint.safetensors.torch, "save_file", refuse)
    return said


def test_a_checkpoint_waits_for_room_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused, trainer = full_for(monkeypatch, 3), make(tmp_path)
    trainer.store.add(rows(0, 100))
    with caplog.at_level(logging.INFO):
        assert Run(trainer, Budget(env_steps=100), lambda path, version, step: path.write_text("x")).loop()
    assert len(refused) == 3 and caplog.text.count(f"waiting for room: make some on the disk of {tmp_path}") == 1
    assert load_checkpoint(tmp_path)[1].training_step == trainer.updates > 0
    assert [entry.name for entry in numbered(tmp_path / FOLDER)] == ["00000001"]
    assert not list((tmp_path / FOLDER).glob(".*"))


def test_a_bundle_that_finds_no_room_keeps_its_version(tmp_path: Path) -> None:
    trainer, tried = make(tmp_path), list[int]()

    def publish(path: Path, version: int, step: int) -> None:
        tried.append(version)
        if len(tried) < 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path.write_text("x")

    trainer.store.add(rows(0, 100))
    training = Run(trainer, Budget(env_steps=100), publish)
    assert training.loop()
    assert tried[:4] == [1, 1, 1, 2] and training.bundle.exists()


def test_who_ends_a_run_that_waits_is_told_why_it_could_not_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, raised = make(tmp_path), []
    full_for(monkeypatch, -1)
    trainer.store.add(rows(0, 100))
    training = Run(trainer, Budget(env_steps=100), lambda path, version, step: path.write_text("x"))

    def train() -> None:
        with pytest.raises(OSError, match="No space left on device") as error:
            training.loop()
        raised.append(error.value.errno)

    thread = threading.Thread(target=train)
    thread.start()
    status = tmp_path / "status.json"
    until(lambda: status.exists() and "waiting for room" in status.read_text(), "the wait")
    training.stop()
    thread.join(30)
    assert raised == [errno.ENOSPC]


def test_a_run_stops_training_before_its_small_files_find_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is appended while rows are read could not be taken back."""
    trainer, seen = make(tmp_path), []

    def usage(folder: Path) -> Any:
        seen.append(trainer.updates)
        return shutil._ntuple_diskusage(10 << 30, 0, (room.LEAST - 1) if len(seen) < 9 else 1 << 30)  # type: ignore[attr-defined]

    monkeypatch.setattr(room.shutil, "disk_usage", usage)
    trainer.store.add(rows(0, 100))
    training = Run(trainer, Budget(env_steps=100), lambda path, version, step: path.write_text("x"))
    assert training.loop()
    assert len(set(seen[:9])) == 1 and trainer.updates > seen[0] and training._room.waited >= 4 * run.STATUS_EVERY


def test_what_a_full_disk_is() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT):
        assert is_full(OSError(number, os.strerror(number)))
    assert not is_full(OSError(errno.EIO, "")) and not is_full(ValueError("full"))
    with pytest.raises(LinkError) as raised, disk_advice(Path("store"), "it cannot be remembered"):
        raise sqlite3.OperationalError("database or disk is full")
    assert is_full(raised.value)


def test_segments_that_found_no_room_take_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(tmp_path)
    trainer.store.add(rows(0, 100))
    trainer.ingest()

    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(latents.os, "fsync", refuse)
        with pytest.raises(OSError, match="No space"):
            trainer.save()
    assert not list((tmp_path / FOLDER / latents.LATENTS).iterdir())
    trainer.save()
    assert np.isfinite(load_checkpoint(tmp_path)[1].credit)
