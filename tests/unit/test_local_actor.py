"""LocalActor records whole episodes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_dreamer import cli
from robot_dreamer.commands import list as some_command
from robot_dreamer.config import load_config
from robot_dreamer.environment import Environment, TimeStep
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.local import FLUSH, LivePolicy, LocalActor, RandomFirst
from robot_dreamer.link.store import AddResult, ExperienceStore
from robot_dreamer.onboard.low_pass import LowPass, butterworth
from robot_dreamer.onboard.policy import PolicyOutput, RandomPolicy
from robot_dreamer.record import RANDOM_POLICY, StepRecord, validate_record
from robot_dreamer.spec import ROBOTS_DIRECTORY, RobotSpec, parse_spec
from sim.environments import make_environment
from tests.onboard_models import TOY, toy_spec


class ListStore:
    def __init__(self) -> None:
        self.rows: list[StepRecord] = []

    def add(self, rows: list[StepRecord]) -> AddResult:
        self.rows.extend(rows)
        return AddResult()


def live_policy(spec: RobotSpec, count: Any = lambda: 0) -> LivePolicy:
    config = load_config("nano", ["device=cpu"])
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    return LivePolicy(agent.policy_step(), spec, 0, count)


def act(environment: Environment, steps: int, policy: Any = None) -> list[StepRecord]:
    """The rows that reached the store by then; `policy`: default: a fresh agent's."""
    store: Any = ListStore()
    actor = LocalActor(environment, policy or live_policy(environment.spec), store)
    for _ in range(steps):
        actor.step()
    actor.flush()
    return store.rows  # type: ignore[no-any-return]


def test_an_episode_of_n_actions_has_n_plus_1_rows_with_its_last_one() -> None:
    environment = make_environment("robot:cartpole", seed=0)
    spec = environment.spec
    steps = 2 * (spec.episode.max_steps + 1)
    rows = act(environment, steps + 3)
    assert len(rows) == steps + 3
    rows = rows[:steps]
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
    environment = make_environment(name, seed=0, pixels=name.startswith("dmc"))
    assert not environment.reset().observation["image"].flags.c_contiguous  # what this is about
    spec = environment.spec
    store = ExperienceStore(tmp_path / "experience.sqlite", spec)
    actor = LocalActor(environment, live_policy(spec), store)
    for _ in range(3):
        actor.step()
    actor.flush()
    (_, first), *_ = store.read(0, 10)
    same = make_environment(name, seed=0, pixels=name.startswith("dmc"))
    same.reset()
    np.testing.assert_array_equal(first.observation["image"], same.reset().observation["image"])
    store.close()


def test_rows_reach_the_store_a_few_at_a_time_and_name_the_weights_that_acted() -> None:
    environment = make_environment("robot:cartpole", seed=0)
    store: Any = ListStore()
    updates = iter(range(100))
    actor = LocalActor(environment, live_policy(environment.spec, lambda: next(updates)), store)
    for _ in range(FLUSH - 1):
        actor.step()
    assert not store.rows
    actor.step()
    assert [row.policy_version for row in store.rows] == list(range(1, FLUSH + 1))


def test_what_a_filter_and_a_rate_limit_leave_of_an_action_is_executed_and_recorded(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    text = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text()
    path.write_text(
        text.replace("    neutral: [0.0]\n", "    neutral: [0.0]\n    filter: {cutoff: 3.0}\n    max_rate: [8.0]\n")
    )
    environment = make_environment(f"robot:{path}", seed=0)
    action, period, limit = environment.spec.actions[0], environment.spec.period, environment.spec.episode.max_steps
    rows = act(environment, 2 * (limit + 1), RandomPolicy(environment.spec, 0))
    assert [row.episode for row in rows] == [0] * (limit + 1) + [1] * (limit + 1)
    low_pass = LowPass(butterworth(2, 3.0, environment.spec.rate), 1)
    slewed = 0
    for row in rows:
        if row.is_first:
            low_pass.reset(np.zeros(1))
            last = np.zeros(1)  # a world that was set up anew holds no command
        if row.is_last:
            continue
        smooth = low_pass.step(action.to_command(row.action_requested["force"]))
        last = np.clip(smooth, last - 8.0 * period, last + 8.0 * period)
        slewed += bool((last != smooth).any())
        np.testing.assert_allclose(action.to_command(row.action["force"]), last, atol=1e-6)
    assert slewed


def test_random_actions_go_before_until_enough_was_lived_and_the_filter_begins_there() -> None:
    environment = make_environment("robot:cartpole", seed=0)
    live, seen = live_policy(environment.spec, lambda: 7), []
    step = live.step

    def watched(*arguments: Any) -> PolicyOutput:
        seen.append(arguments[2])
        return step(*arguments)

    live.step = watched  # type: ignore[method-assign]
    left = iter([True] * 20 + [False])
    rows = act(environment, 30, RandomFirst(live, environment.spec, 3, lambda: next(left)))
    assert [row.policy_version for row in rows] == [RANDOM_POLICY] * 20 + [7] * 10
    assert seen == [True] + [False] * 9
    drawn = RandomPolicy(environment.spec, 3)
    expected = [drawn.step({}, {}, False, None).action["force"] for _ in range(20)]
    np.testing.assert_array_equal([row.action_requested["force"] for row in rows[:20]], expected)


class Scripted:
    """A toy robot's world: shows `heat` step by step, ends as it is told."""

    def __init__(self, heat: list[float], last: bool = False) -> None:
        self.spec = toy_spec() if not heat else parse_spec(HOT)
        self._heat, self._last, self._step = heat, last, 0
        self.commands: list[Any] = []

    def reset(self) -> TimeStep:
        return self._show()

    def step(self, commands: Any) -> TimeStep:
        self.commands.append(commands)
        return self._show()

    def close(self) -> None:
        """Nothing is open."""

    def _show(self) -> TimeStep:
        shown = {"angle": np.array([1, 0], np.float32), "speed": np.zeros(1, np.float32)}
        if self._heat:
            shown["heat"] = np.array([self._heat.pop(0)], np.float32)
        self._step += 1
        return TimeStep(shown, 1.0, self._last and self._step % 3 == 0, False)


HOT = f"""{TOY}
watched:
  - {{name: heat, shape: [1],
     source: {{topic: motor, type: sensor_msgs/msg/JointState, field: position, names: [hinge]}}}}
safety: {{limits: [{{observation: heat, high: [80.0]}}]}}
"""


def test_a_time_limit_of_the_worlds_own_ends_an_episode() -> None:
    environment = Scripted([], last=True)
    rows = act(environment, 6, RandomPolicy(environment.spec, 0))
    assert [(row.is_first, row.is_last, row.is_terminal) for row in rows] == [
        (True, False, False), (False, False, False), (False, True, False),
    ] * 2  # fmt: skip
    assert len(environment.commands) == 4


def test_a_robot_that_harms_itself_ends_its_episode_and_training_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    environment = Scripted([20.0, 20.0, 90.0, 20.0, 20.0])
    caplog.set_level("INFO")
    rows = act(environment, 5, RandomPolicy(environment.spec, 0))
    assert [(row.is_first, row.is_last, row.is_terminal) for row in rows] == [
        (True, False, False), (False, False, False), (False, True, True), (True, False, False), (False, False, False),
    ]  # fmt: skip
    assert "the guard ended an episode (1 so far): limit: heat of hinge is 90, high limit 80" in caplog.text


def test_a_task_that_is_over_at_its_reset_is_begun_anew(caplog: pytest.LogCaptureFixture) -> None:
    environment, goal = Scripted([]), iter([True, False])
    reset = environment.reset
    environment.reset = lambda: dataclasses.replace(reset(), is_last=(over := next(goal)), is_terminal=over)  # type: ignore[method-assign]
    rows = act(environment, 3, RandomPolicy(environment.spec, 0))
    assert [row.is_first for row in rows] == [True, False]
    assert "an episode was cut (0 so far): the task was over at its reset" in caplog.text


def test_what_cannot_go_on_says_so() -> None:
    environment = Scripted([90.0] * 20)
    with pytest.raises(RuntimeError, match="20 episodes in a row were cut .*the last one: limit: heat"):
        act(environment, 20, RandomPolicy(environment.spec, 0))
    environment = Scripted([])
    policy = RandomPolicy(environment.spec, 0)
    policy.step = lambda *_: PolicyOutput({"torque": np.array([np.nan, 0], np.float32)})  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="the guard stopped toy: command: torque is not finite"):
        act(environment, 1, policy)
    environment = Scripted([])
    environment.spec = parse_spec(HOT)
    with pytest.raises(ValueError, match="toy shows what does not fit its spec: observation heat is missing"):
        act(environment, 1, RandomPolicy(environment.spec, 0))


def test_a_person_reads_one_line_of_what_cannot_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = Scripted([90.0] * 20)
    monkeypatch.setattr(some_command, "run", lambda _: act(environment, 20, RandomPolicy(environment.spec, 0)))
    assert cli.main(["list"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("robot-dreamer list: 20 episodes in a row were cut")
