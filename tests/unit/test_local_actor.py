"""LocalActor records whole episodes."""

from __future__ import annotations

from typing import Any

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.local import FLUSH, LocalActor
from robot_dreamer.link.store import AddResult
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
