"""Rows in which a person acted: drawn more often, imitated, taken over from another run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_dreamer.cli import main
from robot_dreamer.config import load_config
from robot_dreamer.data.demonstrations import add_demonstrations
from robot_dreamer.data.errors import DataError
from robot_dreamer.data.source import rows_of
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.replay import Replay
from robot_dreamer.learner.run import Budget, Run
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import INTERVENTION, TAKEN_OVER
from robot_dreamer.report.panel import budget_share
from robot_dreamer.run_status import read_status
from robot_dreamer.world_model.latent import Classes
from tests.agents import SIX_ACTIONS, WALKER, random_batch
from tests.unit.test_replay import LENGTH, SPEC, D, K, S, make_row
from tests.unit.test_trainer import config, make, rows, train


def filled(share: float, shown: tuple[int, ...], rows: int = 400, capacity: int = 500) -> Replay:
    """A replay whose rows `shown` a person acted in; a row's reward is its number."""
    replay = Replay(SPEC, capacity, LENGTH, D, Classes(S, K), seed=1, online_queue=False, share=share)
    for t in range(rows):
        row = make_row("a", t)
        if t in shown:
            object.__setattr__(row, "policy_version", INTERVENTION)
        replay.add("a", row, np.zeros(D, np.float32), np.zeros(S, np.uint8))
    return replay


def test_a_share_of_the_windows_holds_what_a_person_did_in_a_trained_row() -> None:
    replay = filled(0.25, tuple(range(200, 260)))
    batch, _ = replay.sample(16)
    assert batch.demonstrated[12:, 1:].any(1).all()  # a quarter, the last ones
    expected = (batch.reward >= 200) & (batch.reward < 260)
    assert torch.equal(batch.demonstrated, expected)
    counts = sum(int(replay.sample(16)[0].demonstrated[:12, 1:].any(1).sum()) for _ in range(200))
    assert 300 < counts < 480  # the others are of all: 64 of 396


def test_few_such_windows_are_not_drawn_without_end() -> None:
    batch, _ = filled(1.0, (100,)).sample(1000)
    assert int(batch.demonstrated[:, 1:].any(1).sum()) < 130  # 8 x 4 of 396 windows, and those by chance
    replay = filled(0.5, tuple(range(20)), rows=600)  # and when they have been evicted, none is sought
    assert not replay.sample(100)[0].demonstrated.any()


def test_without_a_person_nothing_is_drawn_otherwise() -> None:
    plain, shared = filled(0.0, ()), filled(0.25, ())
    for _ in range(3):
        assert torch.equal(plain.sample(16)[0].reward, shared.sample(16)[0].reward)


def test_imitation_trains_the_policy_alone_and_fades() -> None:
    settings = [
        "batch_length=8",
        "optimizer.learning_rate=1e-2",
        "optimizer.warmup=0",
        "loss_scales.policy=0",
        "demonstrations.imitation=2",
        "demonstrations.half_life=10",
    ]
    agent = Agent(WALKER, SIX_ACTIONS, load_config("nano", settings))
    batch = random_batch(agent, 4, 9)
    noise = agent.draw_noise(4, 9)
    shown = batch._replace(demonstrated=torch.ones_like(batch.is_last))
    losses = [float(agent.update(shown, noise).losses["imitation"]) for _ in range(25)]
    assert losses[-1] < losses[0] - 0.5
    assert float(agent.state["imitation/left"]) == pytest.approx(0.5 ** (25 / 10), rel=1e-4)
    none = agent.update(batch, noise)
    assert float(none.losses["imitation"]) == 0.0


def test_imitation_leaves_the_world_model_as_it_was() -> None:
    after = []
    for imitation in (0, 100):
        settings = ["batch_length=8", "optimizer.warmup=0", f"demonstrations.imitation={imitation}"]
        agent = Agent(WALKER, SIX_ACTIONS, load_config("nano", settings))
        batch = random_batch(agent, 2, 9)._replace(demonstrated=torch.ones(2, 9, dtype=torch.bool))
        for _ in range(2):
            agent.update(batch, agent.draw_noise(2, 9))
        after.append({name: value.clone() for name, value in agent.named_parameters()})
    same = {name for name in after[0] if torch.equal(after[0][name], after[1][name])}
    assert {name for name in after[0] if name.startswith("world_model.")} <= same
    kernels = {name for name in after[0] if name.startswith("policy.") and name.endswith("kernel")}
    assert kernels and not kernels & same


def test_a_resumed_run_imitates_with_the_weight_that_it_is_given(tmp_path: Path) -> None:
    trainer = make(tmp_path, config("demonstrations.imitation=1", "demonstrations.half_life=10"))
    train(trainer, 0, 120)
    trainer.save()
    trainer.store.close()
    again = make(tmp_path, config("demonstrations.imitation=5", "demonstrations.half_life=10"))
    assert again.resume() and again.updates > 3
    again.update()
    assert again.last is not None
    expected = 5 * 0.5 ** ((again.updates - 1) / 10)
    assert float(again.last.metrics["imitation/weight"]) == pytest.approx(expected, rel=1e-4)
    again.store.close()


def test_a_run_is_no_demonstration_for_itself(tmp_path: Path) -> None:
    run = make(tmp_path / "run", config())
    run.store.add(rows(0, 20))
    for place in (tmp_path / "run", tmp_path / "run/../run/experience.sqlite"):
        with pytest.raises(DataError, match="this run's own"):
            add_demonstrations(place, run.store)
    assert run.store.count() == 20
    run.store.close()


def test_the_rows_of_another_run_come_in_once_and_pay_no_steps(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    trainer = make(tmp_path / "shown", config())
    train(trainer, 0, 90)
    trainer.store.close()
    run = make(tmp_path / "run", config("demonstrations.imitation=1"))
    run.store.add(rows(0, 20))
    assert [add_demonstrations(tmp_path / "shown", run.store) for _ in range(2)] == [90, 0]
    while run.ingest():
        pass
    assert (run.env_steps, run.demonstrations) == (110, 90)
    assert Budget(env_steps=25).rows_left(run) == 5  # rows of its own
    kept = [row for row in rows_of(run.store) if row.robot == "demonstration-cartpole"]
    assert len(kept) == 90 and {row.policy_version for row in kept} == {INTERVENTION}
    assert not (tmp_path / "run/episodes.jsonl").exists()  # none of its own has ended
    run.update()
    assert run.replay.sample(4)[0].demonstrated[:, 1:].any(1).sum() >= 1
    shown = ExperienceStore(tmp_path / "shown/experience.sqlite", run.spec)
    with shown.transaction():
        shown.discard("cartpole", "boot", 1)  # it was no good example, somebody has found
    shown.close()
    assert add_demonstrations(tmp_path / "shown", run.store) == 0
    assert [(mark.robot, mark.episode) for mark in run.store.marks()] == [("demonstration-cartpole", 1)]
    run.store.close()


def test_where_a_person_had_taken_over_and_gave_nothing_nothing_is_shown(tmp_path: Path) -> None:
    lived = [dataclasses.replace(row, policy_version=TAKEN_OVER if row.sequence < 8 else 3) for row in rows(0, 20)]
    shown, run = (make(tmp_path / name, config()) for name in ("shown", "run"))
    shown.store.add(lived)
    shown.store.close()
    assert add_demonstrations(tmp_path / "shown", run.store) == 20
    versions = [row.policy_version for row in rows_of(run.store)]
    run.ingest()
    run.ingest_rest()
    run.store.close()
    assert versions == [TAKEN_OVER] * 8 + [INTERVENTION] * 12
    assert run.replay._rows["demonstrated"][:20].tolist() == [False] * 8 + [True] * 12


def test_figures_of_the_robot_do_not_count_what_another_one_lived(tmp_path: Path) -> None:
    trainer = make(tmp_path / "shown", config())
    train(trainer, 0, 90)
    trainer.store.close()
    run = make(tmp_path / "run", config())
    add_demonstrations(tmp_path / "shown", run.store)
    run.store.add(rows(0, 40))
    assert Run(run, Budget(env_steps=40), lambda path, version, step: None).loop()
    status = read_status(tmp_path / "run")
    assert status is not None and (status.env_steps, status.lived, budget_share(status)) == (130, 40, 1.0)
    (episode,) = (tmp_path / "run/episodes.jsonl").read_text().splitlines()
    assert json.loads(episode)["env_step"] == 31
    run.store.close()


def test_what_is_no_store_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["learn", "--offline", "--epochs", "1", "--logdir", str(tmp_path / "run")]
    assert main([*words, "--demonstrations", str(tmp_path / "drive.mcap")]) == 2
    assert "drive.mcap is neither a run nor a store; of a bag, `robot-dreamer data import" in capsys.readouterr().err


def test_a_generation_that_does_not_imitate_says_so() -> None:
    with pytest.raises(ValueError, match="demonstrations.imitation: the objective planet does not read it"):
        load_config("planet", ["demonstrations.imitation=1"])
    assert load_config("planet", ["demonstrations.share=0.5"]).demonstrations.share == 0.5
