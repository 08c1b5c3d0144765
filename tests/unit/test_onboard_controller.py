"""The books of an episode: who is recorded with whom, and what cuts an episode."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from robot_dreamer.onboard.controller import Controller
from robot_dreamer.onboard.guard import Commands, Fault, Guard
from robot_dreamer.onboard.low_pass import LowPass, butterworth
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.record import RANDOM_POLICY, StepRecord, validate_record
from robot_dreamer.spec import parse_spec
from tests.onboard_models import TOY, discrete_spec
from tests.scripted_runs import SPEC, Run, Scripted


def test_alignment_of_a_time_limit_episode() -> None:
    run = Run()
    decisions = [run.tick() for _ in range(6)]
    assert [d.is_last for d in decisions] == [False] * 5 + [True]
    assert decisions[5].command is None
    rows = run.rows
    assert len(rows) == 6  # 5 actions, 6 rows
    for t, row in enumerate(rows):
        validate_record(row, SPEC)
        assert (row.robot, row.boot, row.sequence, row.episode) == ("r", "b", t, 0)
        assert row.observation["speed"][0] == t
        assert row.reward == (10.0 * t if t else 0.0)
        assert (row.is_first, row.is_last, row.is_terminal) == (t == 0, t == 5, False)
        assert row.stamp_capture == 1000 * t
        assert row.stamp_applied == (1000 * t + 5 if t < 5 else 0)
        assert row.policy_version == 7
        expected = [0.1 * (t + 1), 1.0] if t < 5 else [0.0, 0.0]
        np.testing.assert_allclose(row.action["torque"], expected, rtol=1e-6)
    np.testing.assert_allclose(rows[2].action_requested["torque"], [0.3, 2.0], rtol=1e-6)
    np.testing.assert_array_equal(rows[5].action_requested["torque"], [0.0, 0.0])
    c = run.controller
    assert (c.steps, c.episodes, c.last_length, c.last_return) == (5, 1, 5, 150.0)
    assert c.clipped == 5


def test_command_is_in_units() -> None:
    decision = Run().tick()
    assert decision.command is not None and decision.output is not None
    np.testing.assert_allclose(decision.command["torque"], [0.2, 1.0], rtol=1e-6)  # [-2, 2] and [0, 1]
    assert decision.output.surprise == 0.5


def test_the_policy_sees_the_executed_action_and_first_steps() -> None:
    run = Run()
    for _ in range(8):
        run.tick()
    speeds, previous, firsts = zip(*run.policy.calls, strict=True)
    assert speeds == (0, 1, 2, 3, 4, 6, 7)  # 5 was the last row; nobody is asked there
    assert firsts == (True, False, False, False, False, True, False)
    np.testing.assert_allclose(previous[0], [0, 0])
    np.testing.assert_allclose(previous[1], [0.1, 1.0], rtol=1e-6)
    np.testing.assert_allclose(previous[5], [0, 0])
    assert run.policy.resets == 2
    assert [r.episode for r in run.rows] == [0] * 6 + [1] * 2
    assert run.rows[6].is_first and run.rows[6].reward == 0.0 and run.rows[6].sequence == 6


def test_terminal_ends_at_once() -> None:
    run = Run()
    run.tick()
    decision = run.tick(run.sample(terminal=True))
    assert decision.is_last and decision.command is None
    last = run.rows[-1]
    assert last.is_last and last.is_terminal and last.reward == 10.0 and last.stamp_applied == 0


def test_terminal_before_an_episode_is_not_an_episode() -> None:
    run = Run()
    assert run.tick(run.sample(terminal=True)).is_last
    assert run.rows == [] and run.controller.episodes == 0
    run.tick()
    assert run.rows[0].is_first and run.rows[0].episode == 0


def test_abandon_leaves_no_last_row_and_the_next_is_first() -> None:
    run = Run()
    for _ in range(2):
        run.tick()
    run.controller.abandon()
    run.controller.abandon()
    run.tick()
    assert [(r.is_first, r.is_last, r.episode, r.sequence) for r in run.rows] == [
        (True, False, 0, 0), (False, False, 0, 1), (True, False, 1, 2),
    ]  # fmt: skip
    assert run.controller.abandoned == 1 and run.controller.episodes == 0


def test_an_open_row_is_dropped_by_abandon() -> None:
    run = Run()
    run.controller.tick(run.sample())
    run.controller.abandon()
    assert run.rows == []
    with pytest.raises(RuntimeError, match="without a command"):
        run.controller.applied(1)


def test_ticking_twice_without_applied_is_a_mistake() -> None:
    run = Run()
    run.controller.tick(run.sample())
    with pytest.raises(RuntimeError, match="before applied"):
        run.controller.tick(run.sample())


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"speed": np.zeros(2, np.float32)}, "layout", r"observation speed: expected float32\[1\], found float32\[2\]"),
        ({"speed": np.zeros(1)}, "layout", "found float64"),
        ({"speed": np.full(1, np.nan, np.float32)}, "not_finite", "observation speed: expected finite"),
        ({"reward": math.nan}, "reward", "reward: expected a finite number, found nan"),
        ({"reward": 1e300}, "reward", r"reward: expected a number that float32 can hold, found 1e\+300"),
    ],
)
def test_invalid_samples_are_refused_and_counted(changes: dict[str, Any], kind: str, message: str) -> None:
    run = Run()
    run.tick()
    decision = run.tick(run.sample(**changes))
    assert decision.command is None and not decision.is_last
    assert re.search(message, decision.refused)
    assert run.controller.refused == {kind: 1} and run.controller.abandoned == 1
    run.tick()
    assert [r.is_first for r in run.rows] == [True, True]


def test_missing_observation_is_refused() -> None:
    run = Run()
    sample = run.sample()
    del sample.observation["angle"]
    assert "angle is missing" in run.tick(sample).refused


def test_slewed_command_is_the_recorded_one() -> None:
    spec = parse_spec(TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], max_rate: [1.0, 100.0]"))  # 0.02 per tick
    rows: list[StepRecord] = []
    controller = Controller(spec, PolicySlot(spec, Scripted()), robot="r", boot="b", record=rows.append)
    decision = controller.tick(Run().sample())
    controller.applied(1)
    assert decision.command is not None
    np.testing.assert_allclose(decision.command["torque"], [0.02, 1.0])  # wanted 0.2
    np.testing.assert_allclose(rows[0].action["torque"], [0.01, 1.0], rtol=1e-5)
    np.testing.assert_allclose(rows[0].action_requested["torque"], [0.1, 2.0], rtol=1e-5)
    assert controller.guard.limits.slewed == 1


def test_filtered_command_is_the_recorded_one_and_an_episode_starts_from_the_last_command() -> None:
    spec = parse_spec(TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], neutral: [0.0, 0.5], filter: {cutoff: 3.0}"))
    rows: list[StepRecord] = []
    controller = Controller(spec, PolicySlot(spec, Scripted()), robot="r", boot="b", record=rows.append)
    run, wanted = Run(), [[0.2 * n, 1.0] for n in range(1, 4)]
    low_pass = LowPass(butterworth(2, 3.0, spec.rate), 2)
    low_pass.reset(np.array([0.0, 0.5]))
    for action in wanted:
        decision = controller.tick(run.sample())
        controller.applied(1)
        expected = np.clip(low_pass.step(np.array(action)), [-2.0, 0.0], [2.0, 1.0])
        assert decision.command is not None
        np.testing.assert_allclose(decision.command["torque"], expected, rtol=1e-5)
        np.testing.assert_allclose(spec.actions[0].to_command(rows[-1].action["torque"]), expected, rtol=1e-5)
    np.testing.assert_allclose(rows[2].action_requested["torque"], [0.3, 2.0], rtol=1e-5)
    last = decision.command
    controller.abandon()  # the robot stays where it is
    decision = controller.tick(run.sample())
    low_pass.reset(last["torque"])
    assert decision.command is not None
    np.testing.assert_allclose(decision.command["torque"], low_pass.step(np.array([0.8, 1.0])), rtol=1e-5)


def test_a_failing_policy_latches_and_nothing_is_recorded() -> None:
    run = Run()
    run.tick()
    run.policy.broken = True
    decision = run.tick()
    assert "broken" in str(decision.fault) and decision.command is not None
    np.testing.assert_array_equal(decision.command["torque"], [0.0, 0.0])
    run.policy.broken = False
    assert run.tick().fault  # latched
    assert len(run.rows) == 1 and run.controller.guard.faults == {"policy": 1}
    run.controller.guard.clear()
    assert not run.tick().fault
    assert run.rows[1].is_first and run.rows[1].episode == 1


@pytest.mark.parametrize("broken", [False, True])
def test_a_fault_cleared_during_the_tick_is_still_the_ticks_fault(broken: bool) -> None:
    class Hasty(Guard):
        def react(self, fault: Fault) -> Commands | None:
            self.clear()  # as the clear_fault service may, in another thread
            return super().react(fault)

    run = Run(Hasty(SPEC))
    run.tick()
    run.policy.broken = broken
    if not broken:
        run.controller.guard.latch("e_stop", "button")
    decision = run.tick()  # a decision without a fault would call applied(), without an open row
    assert ("broken" if broken else "button") in str(decision.fault)
    assert len(run.rows) == 1 and not run.controller.running
    run.policy.broken = False
    assert not run.tick().fault
    assert run.rows[1].is_first


def test_random_policy_with_discrete_actions_gives_valid_rows() -> None:
    spec = discrete_spec()
    rows: list[StepRecord] = []
    controller = Controller(spec, PolicySlot(spec, RandomPolicy(spec, 0)), robot="r", boot="b", record=rows.append)
    sample = Run().sample()
    for t in range(12):
        decision = controller.tick(sample)
        if decision.command is not None:
            assert decision.command["gear"] in ([0.0], [1.0], [5.0])
            controller.applied(t)
    assert len(rows) == 12
    for row in rows:
        validate_record(row, spec)
        assert row.policy_version == RANDOM_POLICY
