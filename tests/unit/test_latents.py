"""Latents on disk: a checkpoint writes what changed, survives a kill at any point, and comes back exactly."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robot_dreamer.learner import latents
from robot_dreamer.learner.checkpoint_meta import FOLDER
from robot_dreamer.learner.latents import LATENTS, DamagedLatents, LatentLog
from robot_dreamer.learner.replay import Replay
from tests.unit import test_replay, test_trainer
from tests.unit.dying import KILLED, dying_at


def full_replay(rows: int, capacity: int = 400) -> Replay:
    replay = test_replay.make_replay(capacity)
    for t in range(rows):
        test_replay.add(replay, "a", t)
    return replay


def change(replay: Replay, slots: Any, seed: int) -> None:
    replay.latents["deter"][slots] = np.random.default_rng(seed).normal(size=replay.latents["deter"][slots].shape)
    replay.changed[slots] = True


def assert_same(ours: Replay, theirs: Replay) -> None:
    for name, column in ours.latents.items():
        assert np.array_equal(column[: len(ours)], theirs.latents[name][: len(theirs)]), name


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.safetensors"))


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    replay = full_replay(300)
    log = LatentLog(tmp_path, replay)
    assert [segment["rows"] for segment in log.write()] == [300]
    persons = tmp_path / "copy.safetensors"
    persons.write_text("a person's own")
    assert [segment["rows"] for segment in log.write()] == [300]
    log.delete_unused([])
    persons.unlink()  # it was there still
    change(replay, [5, 7], seed=1)
    for t in range(300, 310):
        test_replay.add(replay, "a", t)
    assert [segment["rows"] for segment in log.write()] == [300, 12]
    first, second = (path.stat().st_size for path in files(tmp_path))
    assert second < first / 5


@pytest.mark.parametrize("segment_bytes", [500, 64_000_000])
def test_disk_and_writing_stay_bounded_and_all_comes_back(
    tmp_path: Path, segment_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "_SEGMENT_BYTES", segment_bytes)
    rng, replay = np.random.default_rng(0), full_replay(350)
    log, changed, written, seen = LatentLog(tmp_path, replay), 350, 0, set[str]()
    for round_ in range(60):
        rows = rng.integers(1, 120)
        slots = rng.choice(len(replay), rows, replace=False)
        before = int(replay.changed.sum())
        change(replay, slots, seed=round_)
        for t in range(5):  # the ring goes round: slots get new rows
            test_replay.add(replay, "a", 350 + 5 * round_ + t)
        changed += int(replay.changed.sum()) - before
        segments = log.write()
        written += sum(segment["rows"] for segment in segments if segment["name"] not in seen)
        seen |= {segment["name"] for segment in segments}
        assert sum(segment["rows"] for segment in segments) <= 2 * len(replay)
        log.delete_unused([segments])
        assert {path.name for path in files(tmp_path)} == {segment["name"] for segment in segments}
    assert len(replay) == replay.capacity
    assert written <= 2 * changed
    other = full_replay(replay.added)
    again = LatentLog(tmp_path, other)
    again.load(segments)
    assert_same(other, replay)
    assert not other.changed.any()
    change(other, [1], seed=0)
    assert sum(segment["rows"] for segment in again.write()) == sum(segment["rows"] for segment in segments) + 1


def test_what_a_kept_checkpoint_needs_is_not_deleted(tmp_path: Path) -> None:
    replay = full_replay(100)
    log = LatentLog(tmp_path, replay)
    old, expected = log.write(), replay.latents["deter"].copy()
    for seed in range(5):
        change(replay, slice(0, 100), seed)
        newest = log.write()
        log.delete_unused([old, newest])
    assert len(files(tmp_path)) == 2
    other = full_replay(100)
    LatentLog(tmp_path, other).load(old)
    assert np.array_equal(other.latents["deter"], expected)


def test_a_disk_that_refuses_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = full_replay(100)
    log = LatentLog(tmp_path, replay)
    log.write()
    change(replay, slice(0, 90), seed=1)

    def refuse(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(latents.os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left"):
            log.write()
    segments = log.write()
    log.delete_unused([segments])
    other = full_replay(100)
    LatentLog(tmp_path, other).load(segments)
    assert_same(other, replay)


def test_damage_is_named(tmp_path: Path) -> None:
    replay = full_replay(100)
    log = LatentLog(tmp_path, replay)
    segments = log.write()
    with pytest.raises(DamagedLatents, match="5 rows are in none"):
        LatentLog(tmp_path, full_replay(105)).load(segments)
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedLatents, match="00000001.safetensors are damaged"):
        log.check(segments)
    path.unlink()
    with pytest.raises(DamagedLatents, match="cannot be read"):
        log.check(segments)


def test_damaged_latents_let_a_run_go_on_from_the_checkpoint_before(tmp_path: Path) -> None:
    trainer = test_trainer.make(tmp_path)
    test_trainer.train(trainer, 0, 200)
    trainer.save()
    before = trainer.updates
    test_trainer.train(trainer, 200, 300)
    trainer.save()
    trainer.store.close()
    files(tmp_path / FOLDER / LATENTS)[-1].unlink()
    again = test_trainer.make(tmp_path)
    assert again.resume() and again.updates == before
    test_trainer.train(again, 300, 340)
    again.save()
    assert again.updates > before


def save_and_die(trainer: test_trainer.Trainer, point: int) -> None:
    """Save, but end the process without a word at the n-th step of the write."""
    dying = dying_at(point)
    Path.open = dying(Path.open)  # type: ignore[method-assign]
    Path.rename = dying(Path.rename)  # type: ignore[method-assign]
    Path.unlink = dying(Path.unlink)  # type: ignore[method-assign]
    os.fsync = dying(os.fsync)
    trainer.save()
    os._exit(0)


def test_a_kill_at_any_point_of_a_checkpoint_leaves_one_to_resume_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(latents, "_SEGMENT_BYTES", 30_000)
    run, before = tmp_path / "run", tmp_path / "before"
    trainer = test_trainer.make(run)
    trainer.store.add(test_trainer.rows(0, 160))
    trainer.ingest()
    for _ in range(4):  # the oldest checkpoint goes, and with it segments
        trainer.replay.changed[:100] = True
        trainer.save()
    old = trainer.replay.latents["deter"].copy()
    trainer.replay.latents["deter"][:100] += 1
    trainer.replay.changed[:100] = True
    trainer.updates += 1
    trainer.store.close()
    run.rename(before)
    codes = []
    for point in range(100):
        shutil.copytree(before, run)
        process = multiprocessing.get_context("fork").Process(target=save_and_die, args=(trainer, point))
        process.start()
        process.join(timeout=60)
        codes.append(process.exitcode)
        again = test_trainer.make(run)
        assert again.resume()
        expected = trainer.replay.latents["deter"] if again.updates else old
        assert np.array_equal(again.replay.latents["deter"], expected)
        again.save()
        again.store.close()
        shutil.rmtree(run)
        if process.exitcode == 0:
            assert again.updates == 1
            break
    assert codes == [KILLED] * (len(codes) - 1) + [0]
    assert len(codes) > 8
