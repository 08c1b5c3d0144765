"""An episode that a person has discarded is kept and not learned from, whenever it is said and whoever is killed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.synthetic import synthetic_row
from robot_dreamer.cli import main
from robot_dreamer.data.salvage import salvage
from robot_dreamer.data.source import open_store, rows_of
from robot_dreamer.learner.checkpoint import CheckpointError
from robot_dreamer.learner.trainer import Trainer
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from tests.spools import open_spool
from tests.unit.test_trainer import SPEC, config, make, one_thread, rows, train  # noqa: F401

LAST = 31  # rows of an episode of `rows`


def discard(store: ExperienceStore, episode: int, robot: str = "cartpole", boot: str = "boot") -> bool:
    with store.transaction():
        return store.discard(robot, boot, episode)


def feed(trainer: Trainer, start: int, stop: int) -> None:
    trainer.store.add(rows(start, stop))
    while trainer.ingest():
        pass


def trained(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.agent.training_state().items()}


def reachable(trainer: Trainer) -> set[int]:
    """Episodes of all rows that any window holds."""
    replay = trainer.replay
    slots = replay._follow(replay._starts._slots[: replay.windows], replay.length)
    assert (slots >= 0).all()
    return {int(episode) for episode in np.unique(replay._episode[slots])}


def test_a_store_marks_once_and_in_order(tmp_path: Path) -> None:
    store = ExperienceStore(tmp_path / "a.sqlite", SPEC)
    assert store.marks() == []
    assert discard(store, 3) and discard(store, 1) and not discard(store, 3)
    assert [tuple(mark) for mark in store.marks()] == [(1, "cartpole", "boot", 3), (2, "cartpole", "boot", 1)]
    assert [mark.episode for mark in store.marks(1)] == [1]
    store.close()
    again = ExperienceStore(tmp_path / "a.sqlite", SPEC)
    assert len(again.marks()) == 2
    again.close()


def test_its_rows_leave_the_replay_at_once_and_what_comes_is_left_out(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    feed(trainer, 0, 6 * LAST)
    assert reachable(trainer) == {0, 1, 2, 3, 4, 5}
    discard(trainer.store, 2)
    discard(trainer.store, 6)  # its rows are still to come
    trainer.ingest()
    assert reachable(trainer) == {0, 1, 3, 4, 5}
    feed(trainer, 6 * LAST, 9 * LAST)
    assert reachable(trainer) == {0, 1, 3, 4, 5, 7, 8}
    assert trainer.env_steps == 9 * LAST
    for _ in range(20):
        batch, window = trainer.replay.sample(8)
        assert not set(np.unique(trainer.replay._episode[window.slots])) & {2, 6} and torch.isfinite(batch.reward).all()
    episode = trainer.replay.newest_episode(1000)
    assert episode is not None and episode.reward.shape == (1, LAST)
    assert trainer.replay.newest(100, 5) is not None


def test_of_the_running_episode_the_rows_that_wait_go_too(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    feed(trainer, 0, 2 * LAST + 5)  # five rows wait for a whole chunk
    discard(trainer.store, 2)
    feed(trainer, 2 * LAST + 5, 5 * LAST)
    assert trainer.replay.added == 4 * LAST and reachable(trainer) == {0, 1, 3, 4}


def test_a_run_cut_and_resumed_equals_the_uncut_run(tmp_path: Path) -> None:
    setting = config("replay_capacity=120", "train_ratio=2", "batch_size=2")

    def first_part(logdir: Path) -> Trainer:
        trainer = make(logdir, setting)
        train(trainer, 0, 100)
        discard(trainer.store, 2)
        train(trainer, 100, 170)
        discard(trainer.store, 4)
        discard(trainer.store, 6)
        train(trainer, 170, 200)
        return trainer

    whole, cut = first_part(tmp_path / "whole"), first_part(tmp_path / "cut")
    cut.save()
    cut.store.close()
    second = make(tmp_path / "cut", setting)
    assert second.resume() and second.updates == whole.updates > 3
    for array in ("_serial", "_next", "_episode"):
        np.testing.assert_array_equal(getattr(second.replay, array), getattr(whole.replay, array))
    np.testing.assert_array_equal(second.replay._starts._slots, whole.replay._starts._slots)
    for trainer in (whole, second):
        discard(trainer.store, 5)
        train(trainer, 200, 300)
    assert whole.updates == second.updates
    for name, tensor in trained(whole).items():
        assert torch.equal(tensor, trained(second)[name]), name


def test_what_was_discarded_after_the_checkpoint_is_gone_after_resume(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    feed(trainer, 0, 6 * LAST)
    trainer.save()
    discard(trainer.store, 4)
    trainer.store.close()
    again = make(tmp_path)
    assert again.resume()
    again.ingest()
    assert reachable(again) == {0, 1, 2, 3, 5}


def test_a_checkpoint_of_another_store_is_refused(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    feed(trainer, 0, 100)
    discard(trainer.store, 0)
    trainer.ingest()
    trainer.save()
    trainer.store.close()
    (tmp_path / "experience.sqlite").unlink()
    other = make(tmp_path)
    other.store.add(rows(0, 100))
    with pytest.raises(CheckpointError, match="has left out an episode by mark 1, which the experience store has not"):
        other.resume()


def test_data_shows_it_and_leaves_it_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ExperienceStore(tmp_path / "experience.sqlite", SPEC)
    store.add(rows(0, 3 * LAST))
    discard(store, 1)
    assert {row.episode for row in rows_of(store)} == {0, 2}
    assert len(list(rows_of(store, discarded=True))) == 3 * LAST
    store.close()
    assert main(["data", "list", str(tmp_path), "--episodes"]) == 0
    assert "time limit, discarded" in capsys.readouterr().out
    assert main(["data", "export", str(tmp_path), "--output", str(tmp_path / "a.mcap")]) == 0
    assert f"{2 * LAST} rows in 2 episodes" in capsys.readouterr().out
    assert main(["data", "export", str(tmp_path), "--output", str(tmp_path / "b.mcap"), "--discarded"]) == 0
    assert f"{3 * LAST} rows in 3 episodes" in capsys.readouterr().out
    only = ["data", "export", str(tmp_path), "--output", str(tmp_path / "c.mcap"), "--episodes", "1"]
    assert main(only) == 2 and "discarded ones only with --discarded" in capsys.readouterr().err
    assert main(["data", "import", str(tmp_path), "--store", str(tmp_path / "copy.sqlite")]) == 0
    copy = open_store(tmp_path / "copy.sqlite")
    assert {row.episode for row in rows_of(copy, discarded=True)} == {0, 2}
    copy.close()


def test_salvage_keeps_the_marks(tmp_path: Path) -> None:
    store = ExperienceStore(tmp_path / "a.sqlite", SPEC)
    store.add(rows(0, 2 * LAST))
    discard(store, 1)
    store.close()
    found = salvage(tmp_path / "a.sqlite", tmp_path / "b.sqlite")
    saved = open_store(tmp_path / "b.sqlite")
    assert found == (2 * LAST, 0, 0, False) and [mark.episode for mark in saved.marks()] == [1]
    saved.close()


def test_a_spool_keeps_it_until_the_learner_has_it(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append([], [("b", 1), ("b", 1), ("b", 2)])
    spool.close()
    spool = open_spool(tmp_path)
    assert spool.discards == (("b", 1), ("b", 2))
    spool.settle_discard("b", 1)
    assert spool.discards == (("b", 2),)
    spool.append([])
    spool.close()
    spool = open_spool(tmp_path)
    assert spool.discards == (("b", 2),)
    spool.close()


def send(link: RobotLink, start: int, stop: int) -> None:
    for i in range(start, stop):
        link.record(dataclasses.replace(synthetic_row(SPEC, "r1", link.boot, i, 30), robot="r1", boot=link.boot))


def serve(store: ExperienceStore, address: str = "tcp://127.0.0.1:*") -> LinkServer:
    server = LinkServer(store, SPEC, address)
    server.start()
    return server


def test_over_the_link_also_when_it_is_said_while_nobody_listens(tmp_path: Path) -> None:
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    alone = RobotLink(SPEC, "r1", tmp_path / "robot", "tcp://127.0.0.1:9")
    alone.start()
    send(alone, 0, 62)
    alone.discard(1)
    alone.stop(0.1)
    assert alone.status().discards == 1
    server = serve(store)
    link = RobotLink(SPEC, "r1", tmp_path / "robot", server.address)
    link.start()
    link.discard(0)
    link.stop(20.0)
    server.stop()
    assert link.status().discards == 0 and store.count() == 62 and not server.bad_messages
    expected = {("r1", alone.boot, 1), ("r1", link.boot, 0)}
    assert {(mark.robot, mark.boot, mark.episode) for mark in store.marks()} == expected
    assert [robot.discarded for robot in server.status()] == [2]
    store.close()
