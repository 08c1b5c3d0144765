"""Rules of safety and a person, as the controller obeys and records them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robot_dreamer.onboard.controller import Controller, Sample
from robot_dreamer.onboard.policy import PolicyOutput, RandomPolicy
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.record import INTERVENTION, TAKEN_OVER, StepRecord, validate_record
from robot_dreamer.spec import parse_spec
from tests.onboard_models import TOY, discrete_spec
from tests.scripted_runs import SPEC, Run

SAFE = f"""{TOY}
watched:
  - {{name: heat, shape: [1],
     source: {{topic: motor, type: sensor_msgs/msg/JointState, field: position, names: [hinge]}}}}
safety:
  limits: [{{observation: heat, high: [80.0]}}]
  surprise: {{factor: 5.0, seconds: 0.02, window: 100, warm_up: 1}}
"""


class SafeRun(Run):
    """A robot with a watched temperature."""

    def __init__(self) -> None:
        super().__init__()
        spec = parse_spec(SAFE)
        slot = PolicySlot(spec, self.policy)
        self.controller = Controller(spec, slot, robot="r", boot="b", record=self.rows.append)

    def at(self, heat: float) -> Sample:
        return self.sample(heat=np.array([heat], np.float32))


def test_what_is_watched_is_judged_and_not_recorded() -> None:
    run = SafeRun()
    run.tick(run.at(40.0))
    assert set(run.rows[0].observation) == {"angle", "speed"}
    validate_record(run.rows[0], SPEC)
    assert "heat is missing" in run.tick().refused  # what cannot be judged is no sample


def test_a_robot_that_harms_itself_ends_its_episode_as_terminal() -> None:
    run = SafeRun()
    run.tick(run.at(40.0))
    decision = run.tick(run.at(90.0))
    assert str(decision.fault) == "limit: heat of hinge is 90, high limit 80" and decision.command is not None
    last = run.rows[-1]
    assert len(run.rows) == 2 and last.is_last and last.is_terminal and last.reward == 10.0
    assert (run.controller.episodes, run.controller.abandoned) == (1, 0)
    run.tick(run.at(90.0))
    assert len(run.rows) == 2  # nothing while it is latched
    run.controller.guard.clear()
    run.tick(run.at(90.0))  # the cause persists: not even a first row
    assert len(run.rows) == 2 and run.controller.guard.fault is not None


def test_other_faults_cut_the_episode() -> None:
    run = Run()
    run.tick()
    run.controller.guard.latch("deadline", "test")
    run.tick()
    assert len(run.rows) == 1 and (run.controller.episodes, run.controller.abandoned) == (0, 1)


def test_first_rows_do_not_count_as_surprise(monkeypatch: pytest.MonkeyPatch) -> None:
    run = SafeRun()
    surprises = iter([100.0, 1.0, 1.0, 1.0, 1.0, 100.0, 1.0, 100.0])
    step = run.policy.step
    monkeypatch.setattr(run.policy, "step", lambda *a: PolicyOutput(step(*a).action, surprise=next(surprises)))
    decisions = [run.tick(run.at(40.0)) for _ in range(9)]  # the second episode begins with the 7th sample
    assert [d.fault is None for d in decisions] == [True] * 8 + [False]
    assert decisions[8].fault is not None and decisions[8].fault.rule == "surprise"


def test_a_persons_command_goes_out_and_is_recorded_as_an_intervention() -> None:
    run = Run()
    run.tick()
    decision = run.controller.tick(run.sample(), {"torque": np.array([-1.0, 9.0])})
    run.controller.applied(1)
    assert decision.intervention and decision.command is not None
    np.testing.assert_allclose(decision.command["torque"], [-1.0, 1.0])  # within limits
    row = run.rows[-1]
    validate_record(row, SPEC)
    assert row.policy_version == INTERVENTION and run.controller.interventions == 1
    np.testing.assert_allclose(row.action["torque"], [-0.5, 1.0])
    np.testing.assert_allclose(row.action_requested["torque"], [0.2, 2.0], rtol=1e-6)  # the policy's
    run.tick()
    np.testing.assert_allclose(run.policy.calls[-1][1], [-0.5, 1.0])  # its filter knows what was done
    assert run.rows[-1].policy_version == 7


@pytest.mark.parametrize(("idle", "gave"), [([True, True], False), ([False, True], True), ([True], False)])
def test_who_has_taken_over_and_gives_nothing_shows_nothing(idle: list[bool], gave: bool) -> None:
    """Standing at the neutral command is no example of the task."""
    run = Run()
    run.tick()
    run.controller.tick(run.sample(), {"torque": np.zeros(2)}, {"torque": np.array(idle)})
    run.controller.applied(1)
    validate_record(run.rows[-1], SPEC)
    assert run.rows[-1].policy_version == (INTERVENTION if gave else TAKEN_OVER)
    assert run.controller.interventions == gave


def test_a_persons_wrong_number_is_gone_once_it_is_taken_back() -> None:
    """A filter would remember it, and swing to the other side."""
    text = TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], filter: {cutoff: 3.0}").replace(
        "steps: 5,", "steps: 500,"
    )
    run = Run(spec=parse_spec(text))
    run.tick()
    commands = []
    for number in (1e6, *[0.5] * 60):
        decision = run.controller.tick(run.sample(), {"torque": np.array([number, 0.5])})
        run.controller.applied(1000 * run.time + 5)
        run.time += 1
        assert decision.command is not None
        commands.append(float(decision.command["torque"][0]))
    assert run.controller.guard.limits.clipped == 1
    assert min(commands) > 0.0 and commands[-1] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("idle", "expected"), [(True, 0.16), (False, 0.0)])
def test_what_a_person_leaves_alone_goes_to_neutral_as_gently_as_the_ramp(idle: bool, expected: float) -> None:
    """Without max_rate, switching the take-over on would make an arm leap."""
    run = Run(spec=parse_spec(f"{TOY}safety: {{ramp_seconds: 2.0}}\n"))
    run.tick()
    np.testing.assert_allclose(run.controller.guard.limits.last["torque"], [0.2, 1.0])
    decision = run.controller.tick(run.sample(), {"torque": np.zeros(2)}, {"torque": np.array([idle, True])})
    assert decision.command is not None
    np.testing.assert_allclose(decision.command["torque"], [expected, 0.99])


def test_a_person_of_a_discrete_robot_gets_the_nearest_value() -> None:
    spec = discrete_spec()
    rows: list[StepRecord] = []
    controller = Controller(spec, PolicySlot(spec, RandomPolicy(spec, 0)), robot="r", boot="b", record=rows.append)
    decision = controller.tick(Run().sample(), {"gear": np.array([4.0])})
    controller.applied(1)
    assert decision.command == {"gear": np.array([5.0])}
    assert rows[0].action["gear"] == 2 and rows[0].policy_version == INTERVENTION


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("person", [None, {"torque": np.array([0.0, 0.5])}])
def test_a_policys_nonsense_latches_even_if_it_would_be_clipped_or_replaced(
    bad: float, person: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row with it could not be recorded."""
    run = Run()
    run.tick()
    nonsense = PolicyOutput({"torque": np.array([bad, 0.0], np.float32)})
    monkeypatch.setattr(run.policy, "step", lambda *_: nonsense)
    decision = run.controller.tick(run.sample(), person)
    assert decision.fault is not None and decision.fault.rule == "command"
    assert len(run.rows) == 1 and decision.command is not None
    np.testing.assert_array_equal(decision.command["torque"], [0.0, 0.0])
