"""LocalActor records whole episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.local import FLUSH, LocalActor
from robot_dreamer.link.store import AddResult, ExperienceStore
from robot_dreamer.record import StepRecord, validate_record
from sim.environments import make_environment


class ListStore:
    def __init__(self) -> None:
        self.rows: list[StepRecord] = []

    def add(self, rows: list[StepRecord]) -> AddResult:
        self.rows.extend(rows)
        return AddResult()


def test_an_episode_of_n_actions_has_n_plus_1_rows_with_its_last_one() -> None:
    config = load_config("nano", ["device=cpu"])
    environment = make_environment("robot:cartpole", seed=0)
    spec = environment.spec
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    store: Any = ListStore()
    actor = LocalActor(environment, agent.policy_step(), config.model, store, seed=0)
    steps = 2 * (spec.episode.max_steps + 1)
    for _ in range(steps + FLUSH):
        actor.step()
    rows = store.rows[:steps]
    assert len(rows) == steps
    for row in rows:
        validate_record(row, spec)
    assert [row.sequence for row in rows] == list(range(steps))
    assert [row.sequence for row in rows if row.is_first] == [0, spec.episode.max_steps + 1]
    assert [row.sequence for row in rows if row.is_last] == [spec.episode.max_steps, 2 * spec.episode.max_steps + 1]
    assert not any(row.is_terminal for row in rows)
    assert {row.episode for row in rows} == {0, 1}
    assert rows[0].reward == 0.0 and rows[spec.episode.max_steps].action["force"] == 0.0


@pytest.mark.parametrize("name", ["dmc:reacher_easy", "crafter:reward"])
def test_pictures_as_renderers_give_them_are_recorded(tmp_path: Path, name: str) -> None:
    pytest.importorskip(name.split(":")[0].replace("dmc", "dm_control"))
    config = load_config("nano", ["device=cpu"])
    environment = make_environment(name, seed=0, pixels=name.startswith("dmc"))
    assert not environment.reset().observation["image"].flags.c_contiguous  # what this is about
    spec = environment.spec
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    store = ExperienceStore(tmp_path / "experience.sqlite", spec)
    actor = LocalActor(environment, agent.policy_step(), config.model, store, seed=0)
    for _ in range(3):
        actor.step()
    actor.flush()
    (_, first), *_ = store.read(0, 10)
    same = make_environment(name, seed=0, pixels=name.startswith("dmc"))
    same.reset()
    np.testing.assert_array_equal(first.observation["image"], same.reset().observation["image"])
    store.close()
