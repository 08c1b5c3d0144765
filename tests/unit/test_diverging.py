"""A simulation that loses itself: the episode is cut or counted as failed, and the next one begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("dm_control")
from dm_control.rl.control import PhysicsError

from robot_dreamer.environment import Environment, EpisodeBroken
from robot_dreamer.learner.local import BROKEN, LocalActor
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.spec import load_spec
from sim.environments import make_environment
from sim.evaluate import _table, evaluate
from sim.robot import SimRobot

ZERO = {"dmc:cartpole_swingup": {"action": np.zeros(1)}, "robot:cartpole": {"force": np.zeros(1)}}


def task_of(environment: Environment) -> Any:
    """dm_control's own environment."""
    inner = environment._robot._world if hasattr(environment, "_robot") else environment  # type: ignore[attr-defined]
    return inner._environment  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ZERO)
def test_the_episode_breaks_by_name_and_no_sensor_holds_the_jump(name: str) -> None:
    environment = make_environment(name, seed=0)
    environment.reset()
    environment.step(ZERO[name])
    task_of(environment).physics.data.qvel[:] = 1e12
    with pytest.raises(EpisodeBroken, match="the simulation lost itself: .*BAD") as error:
        environment.step(ZERO[name])
    assert error.value.kind == "diverged"
    with pytest.raises(RuntimeError, match="reset first"):
        environment.step(ZERO[name])
    shown = environment.reset()
    assert all(np.abs(value).max() < 1e3 for value in shown.observation.values())


@pytest.mark.parametrize("name", ZERO)
def test_a_reset_that_loses_itself_breaks_the_episode_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make_environment(name, seed=0)

    def lost(physics: object) -> None:
        raise PhysicsError("Physics state is invalid. Warning(s) raised: mjWARN_CNSTRFULL")

    with monkeypatch.context() as patch:
        patch.setattr(task_of(environment).task, "initialize_episode", lost)
        with pytest.raises(EpisodeBroken, match="the simulation lost itself: .*CNSTRFULL"):
            environment.reset()
    environment.reset()
    environment.step(ZERO[name])


def test_training_goes_on_and_ends_only_where_it_never_gets_better(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = make_environment("robot:cartpole", seed=0)
    store = ExperienceStore(tmp_path / "store.sqlite", environment.spec)
    actor = LocalActor(environment, RandomPolicy(environment.spec, 0), store)
    for i in range(30):
        if i == 10:
            task_of(environment).physics.data.qvel[:] = 1e12
        actor.step()
    actor.flush()
    rows = [row for _, row in store.read(0, 100)]
    assert [i for i, row in enumerate(rows) if row.is_first] == [0, 11]  # row 10 has its action, and no row behind it
    assert not any(row.is_last for row in rows) and caplog.text.count("an episode was cut (1 so far)") == 1

    def lost() -> None:
        raise EpisodeBroken("diverged", "lost at once")

    environment.reset = lost  # type: ignore[method-assign,assignment]
    actor._next = None
    with pytest.raises(RuntimeError, match=f"{BROKEN} episodes in a row were cut .*lost at once"):
        for _ in range(BROKEN + 1):
            actor.step()
    store.close()


def test_evaluation_counts_it_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    step, calls = SimRobot.step, []

    def sometimes(self: SimRobot, commands: object) -> object:
        calls.append(1)
        if len(calls) == 20:
            raise EpisodeBroken("diverged", "lost")
        return step(self, commands)  # type: ignore[arg-type]

    monkeypatch.setattr(SimRobot, "step", sometimes)
    result = evaluate(None, load_spec("cartpole"), episodes=2)
    assert result.failed == 1 and result.lengths == [19, 250] and result.returns[0] < result.returns[1]
    assert "episodes failed, because the simulation lost itself: random with seeds 0" in str(_table([result]).caption)


@pytest.mark.parametrize(
    ("rate", "max_age", "leap"), [(25.0, 0.5, 1.04), (0.5, 0.5, 6.0), (1.0, 0.5, 3.0), (2.0, 1.0, 2.5)]
)
def test_a_world_that_begins_anew_leaps_farther_than_a_step_may(rate: float, max_age: float, leap: float) -> None:
    """On board less than 2.5 periods pass as a step in lockstep, up to twice what a sensor counts for in real time."""
    spec, replaced = load_spec("cartpole"), msgspec.structs.replace
    slow = tuple(replaced(o, source=replaced(o.source, max_age=max_age)) for o in spec.observations)
    robot = SimRobot(replaced(spec, rate=rate, observations=slow), seed=0)
    first, second = robot.reset().stamp, robot.reset().stamp
    assert (second - first) / 1e9 == pytest.approx(leap)
    assert leap >= 2.5 / rate and leap > 2 * max_age
