"""Trainer: train ratio, exact resume, refusals."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_dreamer.config import Config, load_config
from robot_dreamer.learner import memory
from robot_dreamer.learner.checkpoint import CheckpointError, load_checkpoint
from robot_dreamer.learner.memory import OutOfMemory
from robot_dreamer.learner.recent import RECENT
from robot_dreamer.learner.replay import row_bytes
from robot_dreamer.learner.streams import CHUNK
from robot_dreamer.learner.trainer import Trainer, TrainingError
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import SpecMismatch, load_spec, parse_spec
from robot_dreamer.world_model.latent import latent_space

SPEC = load_spec("cartpole")
EPISODE = 30


def config(*overrides: str) -> Config:
    return load_config("nano", ["device=cpu", "train_ratio=6", *overrides])


def rows(start: int, stop: int, robot: str = "cartpole") -> list[StepRecord]:
    """Rows of episodes of 30 actions with smooth observations; the same for the same numbers."""
    made = []
    for t in range(start, stop):
        in_episode = t % (EPISODE + 1)
        is_last = in_episode == EPISODE
        action = {"force": np.full(1, 0.0 if is_last else np.sin(0.3 * t), np.float32)}
        observation = {o.name: np.cos(0.1 * t + np.arange(o.shape[0])).astype(np.float32) for o in SPEC.observations}
        reward = 0.0 if in_episode == 0 else float(observation["pole_angle"][0])
        flags = (in_episode == 0, is_last, False)
        episode = t // (EPISODE + 1)
        made.append(StepRecord(robot, "boot", t, episode, observation, action, action, reward, *flags, t, t, 0))
    return made


def make(logdir: Path, setting: Config | None = None, offline: bool = False) -> Trainer:
    logdir.mkdir(exist_ok=True)
    store = ExperienceStore(logdir / "experience.sqlite", SPEC)
    return Trainer(SPEC, setting or config(), store, logdir, offline=offline)


def train(trainer: Trainer, start: int, stop: int) -> None:
    """Feed rows in small portions and make every update that is due."""
    for t in range(start, stop, 10):
        trainer.store.add(rows(t, min(t + 10, stop)))
        trainer.ingest()
        while trainer.due:
            trainer.update()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_updates_follow_the_train_ratio_and_stop_when_experience_stops(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    train(trainer, 0, 300)
    per_row = trainer.config.train_ratio / (trainer.config.batch_size * trainer.config.batch_length)
    most = (300 - trainer.replay.length) * per_row
    assert most - CHUNK * per_row - 1 <= trainer.updates <= most  # the first window waits for a chunk to fill
    assert not trainer.due and trainer.ingest() == 0 and not trainer.due


def test_missing_rows_are_counted(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    assert trainer.rows_missing == trainer.replay.length == 17
    trainer.store.add(rows(0, 10))
    trainer.store.add(rows(0, 9, "other"))  # windows do not mix robots
    trainer.ingest()
    assert trainer.rows_missing == 7
    train(trainer, 10, 300)
    assert trainer.rows_missing == 0


STAGED = load_config(
    "world_models:cpu",
    [
        *("device=cpu", "train_ratio=6", "batch_size=4", "batch_length=16", "model.deter=16", "model.units=16"),
        *("stages.vision=2", "stages.memory=3", "stages.controller=4", "stages.vision_rows=8"),
        *("evolution.dreams=2", "evolution.dream_length=3"),
    ],
)


@pytest.mark.parametrize("setting", [config(), STAGED], ids=["dreamer_v3", "world_models"])
def test_a_run_cut_and_resumed_equals_the_uncut_run(tmp_path: Path, setting: Config) -> None:
    whole = make(tmp_path / "whole", setting)
    train(whole, 0, 330)
    first = make(tmp_path / "cut", setting)
    train(first, 0, 200)
    first.save()
    first.store.close()
    second = make(tmp_path / "cut", setting)
    assert second.resume()
    assert second.updates == first.updates > 3
    train(second, 200, 330)
    assert second.updates == whole.updates > first.updates + 3
    ours, theirs = second.agent.training_state(), whole.agent.training_state()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name
    assert second.episodes.count == whole.episodes.count
    for name, value in second.replay.latents.items():
        assert np.array_equal(value, whole.replay.latents[name]), name


def test_a_checkpoint_holds_what_the_robot_saw_last(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.store.add(rows(0, 100, "other"))
    trainer.store.add(rows(0, 40))
    trainer.ingest()
    trainer.save()
    tensors, meta = load_checkpoint(tmp_path)
    assert meta.lineage == trainer.store.id != ""
    assert tensors[f"{RECENT}is_first"].nonzero().flatten().tolist() == [0, EPISODE + 1]
    expected = np.stack([row.observation["pole_angle"] for row in rows(0, 40)])
    np.testing.assert_array_equal(tensors[f"{RECENT}observation/pole_angle"].numpy(), expected)
    assert tensors[f"{RECENT}action/force"].shape == (40, 1)


def test_experience_that_came_after_the_checkpoint_is_trained_on_after_a_crash(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    train(trainer, 0, 100)
    trainer.save()
    trainer.store.add(rows(100, 160))  # durable, then the power went
    trainer.store.close()
    again = make(tmp_path)
    assert again.resume()
    assert again.ingest() == 60 and again.env_steps == 160


def test_rows_behind_a_gap_do_not_continue_the_stream(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.store.add(rows(0, 40))
    trainer.store.add(rows(50, 90))
    trainer.ingest()
    batch, _ = trainer.replay.sample(200)
    steps = np.diff(batch.action["force"][..., 0].numpy(), axis=1)
    gap = np.sin(0.3 * 50) - np.sin(0.3 * 39)
    assert not np.isclose(steps, gap, atol=1e-4).any()
    assert len(trainer.replay) == 40 + 12 + 16  # rows before the gap do not wait for their chunk to fill


def test_episodes_are_logged_once_over_restarts(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    train(trainer, 0, 100)
    trainer.store.close()
    again = make(tmp_path)  # no checkpoint: everything is read again
    again.ingest()
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == again.episodes.count == 3


def test_checkpoint_of_another_robot_or_model_is_refused_with_both_sides(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    train(trainer, 0, 60)
    trainer.save()
    trainer.store.close()
    with pytest.raises(CheckpointError, match=r"model.deter: ours 128, theirs 64"):
        (bigger := make(tmp_path, config("model.deter=128"))).resume()
    bigger.store.close()
    other = parse_spec(SPEC.to_json().replace('"rate":25.0', '"rate":20.0'))
    (tmp_path / "experience.sqlite").unlink()
    store = ExperienceStore(tmp_path / "experience.sqlite", other)
    with pytest.raises(SpecMismatch, match=r"rate: ours 20.0, theirs 25.0"):
        Trainer(other, config(), store, tmp_path).resume()


def test_a_store_that_lost_rows_of_the_checkpoint_is_refused(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    train(trainer, 0, 100)
    trainer.save()
    trainer.store.close()
    (tmp_path / "experience.sqlite").unlink()
    with pytest.raises(CheckpointError, match="has seen row 100 .*there are 0 rows"):
        make(tmp_path).resume()


def test_non_finite_updates_are_skipped_counted_and_end_training_with_a_checkpoint(tmp_path: Path) -> None:
    trainer = make(tmp_path, config("max_nonfinite=2"))
    train(trainer, 0, 60)
    with torch.no_grad():
        next(trainer.agent.world_model.reward.parameters()).fill_(float("nan"))
    before = trainer.updates
    trainer.update()
    assert trainer.updates == before and trainer.skipped == 1
    with pytest.raises(TrainingError, match="not finite: reward"):
        trainer.update()
    assert (tmp_path / "checkpoints").is_dir()


def test_the_last_rows_of_a_killed_robot_are_trained_on_once_it_is_back(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.store.add(rows(0, 20))  # 16 rows and 4 that wait for their chunk to fill
    trainer.ingest()
    assert len(trainer.replay) == 16
    trainer.store.add([dataclasses.replace(row, boot="second") for row in rows(0, 1)])
    trainer.ingest()
    assert len(trainer.replay) == 20


def test_a_reward_beyond_float32_is_refused_by_the_store(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    huge = [dataclasses.replace(row, reward=1e300) for row in rows(0, 2)]
    assert sum(trainer.store.add(huge).rejected.values()) == 2


def test_the_memory_of_the_replay_is_stated_and_stays_within_the_machine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = config("replay_capacity=1000000")
    each = row_bytes(SPEC, setting.model.deter, latent_space(setting.model))
    monkeypatch.setattr(memory, "machine_memory", lambda: 1_120_000 * each)
    with caplog.at_level(logging.INFO):
        assert make(tmp_path / "fits", setting).replay.capacity == 1_000_000
    assert f"replay: at most 1000000 rows, {1e6 * each / 1e9:.1f} GB when full" in caplog.text
    assert "older rows leave earlier" not in caplog.text
    monkeypatch.setattr(memory, "machine_memory", lambda: 1_234 * each)
    with caplog.at_level(logging.INFO):
        replay = make(tmp_path / "large", setting).replay
    assert replay.capacity == 980  # 80 %, rounded
    assert "a replay of 1000000 rows would take" in caplog.text and "older rows leave earlier" in caplog.text
    starts = [value for kept in (replay._starts, replay._demonstrated) for value in (kept._slots, kept._place)]
    arrays = [*replay._rows.values(), replay.changed, replay._serial, replay._next, *starts]
    arrays += [replay._boot, replay._episode]
    assert sum(array.nbytes for array in arrays) == 980 * each


def test_another_capacity_is_refused_only_if_rows_have_been_evicted(tmp_path: Path) -> None:
    trainer = make(tmp_path, config("replay_capacity=100"))
    train(trainer, 0, 90)
    trainer.save()
    trainer.store.close()
    trainer = make(tmp_path, config("replay_capacity=150"))
    assert trainer.resume()
    train(trainer, 90, 200)
    trainer.save()
    trainer.store.close()
    with pytest.raises(ValueError, match="held 150 rows, now it is to hold 170.*resume with replay_capacity=150"):
        make(tmp_path, config("replay_capacity=170")).resume()


# larger than any address space: the allocator refuses at once, whatever the machine has
def test_a_model_that_does_not_fit_says_what_to_lower(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory, match=r"model.deter 140737488355328.*choose a smaller model size"):
        make(tmp_path, config("model.deter=140737488355328"))


def test_a_replay_that_does_not_fit_says_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 10**19)
    with pytest.raises(OutOfMemory, match="for a replay of 1000000000000000 rows: lower replay_capacity"):
        make(tmp_path, config("replay_capacity=1000000000000000"))


def test_an_update_that_does_not_fit_says_what_to_lower(tmp_path: Path) -> None:
    trainer = make(tmp_path, config("behavior.horizon=200000000000"))
    trainer.store.add(rows(0, 60))
    trainer.ingest()
    with pytest.raises(OutOfMemory, match=r"batch_size 4 x batch_length 16 .*lower batch_size, for example to 2"):
        trainer.update()


def test_what_to_lower_depends_on_what_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 32_000)
    cpu = torch.device("cpu")
    assert "1 GB: choose a smaller model size" not in memory.update_advice(config(), 999, cpu)
    assert memory.update_advice(config(), 1001, cpu).endswith("choose a smaller model size")
    assert memory.update_advice(config("batch_size=1"), 999, cpu).endswith(
        "lower batch_length, or choose a smaller model size"
    )


def test_other_errors_keep_their_names(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="^a shape is wrong$") as caught, memory.fitting("advice"):
        raise RuntimeError("a shape is wrong")
    assert not isinstance(caught.value, OutOfMemory)


def test_memory_that_runs_out_for_new_rows_says_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(tmp_path)

    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer.agent, "observe", full)
    trainer.store.add(rows(0, 60))
    with pytest.raises(OutOfMemory, match="latents of .* new rows .*choose a smaller model size"):
        trainer.ingest()


def test_a_result_that_arrives_late_is_finished_by_the_next_update_or_a_checkpoint(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.store.add(rows(0, 60))
    trainer.ingest()
    trainer.update()
    assert trainer.updates == 1
    trainer._late = True  # as on a GPU
    before = trainer.replay.latents["deter"].copy()
    trainer.update()
    assert trainer.updates == 1 and np.array_equal(trainer.replay.latents["deter"], before)
    trainer.update()
    assert trainer.updates == 2 and not np.array_equal(trainer.replay.latents["deter"], before)
    trainer.save()
    assert trainer.updates == 3
    assert load_checkpoint(tmp_path)[1].training_step == 3


def test_another_seed_on_resume_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = make(tmp_path)
    train(trainer, 0, 60)
    trainer.save()
    trainer.store.close()
    same = make(tmp_path)
    assert same.resume() and "began with seed" not in caplog.text
    same.store.close()
    assert make(tmp_path, config("seed=7")).resume()
    assert "goes on with its random streams; seed 7 changes nothing but acting" in caplog.text
