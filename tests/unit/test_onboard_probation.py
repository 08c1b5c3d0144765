"""A policy that took over gives way to the one before it when it is slower than the period, or worse by return."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.controller import Controller, Sample
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.onboard.probation import Probation
from robot_dreamer.onboard.slot import PolicySlot
from tests.onboard_models import make_bundle, toy_spec

SPEC = toy_spec(episode="{max_steps: 3}")


def steps(probation: Probation, seconds: float, count: int = 32) -> None:
    for _ in range(count):
        probation.stepped(seconds)


def test_slow_steps_are_judged_by_the_median_and_by_the_policy_before() -> None:
    probation = Probation(period=0.01)
    steps(probation, 0.002)
    probation.begin()
    steps(probation, 0.002, 20)
    steps(probation, 0.5, 12)  # a machine that stalls for a while is not the policy's fault
    assert probation.verdict() == ""
    steps(probation, 0.015)
    assert probation.verdict() == "a step takes 15.0 ms of a period of 10.0 ms, before 2.0 ms"
    probation.end()
    assert probation.verdict() == ""


def test_a_slow_predecessor_is_no_reason_to_go_back() -> None:
    probation = Probation(period=0.01)
    steps(probation, 0.02)
    probation.begin()
    steps(probation, 0.03)
    assert probation.verdict() == ""
    lockstep = Probation(period=None)
    steps(lockstep, 0.002)
    lockstep.begin()
    steps(lockstep, 9.0)
    assert lockstep.verdict() == ""


@pytest.mark.parametrize(
    ("before", "now", "worse"),
    [
        ([10, 11, 9, 10], [5, 6, 5, 4], True),
        ([10, 11, 9, 10], [9.6, 10.4, 9.9, 9.7], False),  # within two standard errors
        ([10, 11, 9, 10], [20, 21, 19, 22], False),
        ([10, 10, 10, 10], [9, 9, 9, 9], True),
        ([10, 11, 9], [1, 1, 1, 1], False),  # too little known of the one before
        ([10, 11, 9, 10], [1, 1, 1], False),  # not yet
        ([0, 10, 11, 9, 10], [5, 6, 5, 4], True),  # the last ones count
    ],
)
def test_returns_are_compared_over_n_episodes(before: list[float], now: list[float], worse: bool) -> None:
    probation = Probation(episodes=4)
    for value in before:
        probation.finished(value)
    probation.begin()
    for value in now:
        probation.finished(value)
    assert bool(probation.verdict()) == worse
    if worse:
        assert probation.verdict().startswith("mean return of 4 episodes ")


def test_returns_are_judged_once_and_only_where_asked_for() -> None:
    probation, never = Probation(episodes=2), Probation()
    for one in (probation, never):
        one.finished(10)
        one.finished(10)
        one.begin()
        one.finished(10)
        one.finished(10)
        assert one.verdict() == ""
        one.finished(0)
        one.finished(0)
        assert one.verdict() == ""
    with pytest.raises(ValueError, match="expected 0 \\(never\\), or at least 2, found 1"):
        Probation(episodes=1)


class Drive:
    """A controller with two policies in its slot, and a reward per step that the test decides."""

    def __init__(self, folder: Path, probation: Probation) -> None:
        policies = [
            OnnxPolicy(read_bundle(make_bundle(folder / f"{version}.bundle", SPEC, version), SPEC))
            for version in (1, 2)
        ]
        self.slot = PolicySlot(SPEC, policies[0], probation=probation)
        self.second = policies[1]
        self.controller = Controller(SPEC, self.slot, robot="r", boot="b", record=None)

    def episode(self, reward: float) -> None:
        observation = {"angle": np.array([1.0, 0.0], np.float32), "speed": np.array([0.5], np.float32)}
        while not self.controller.tick(Sample(observation, reward, False, 0)).is_last:
            self.controller.applied(0)


def test_the_slot_goes_back_after_worse_episodes(tmp_path: Path) -> None:
    drive = Drive(tmp_path, Probation(episodes=3))
    for reward in (1.0, 1.1, 0.9):
        drive.episode(reward)
    drive.slot._ready.append(drive.second)
    for reward in (0.1, 0.2, 0.1):
        drive.episode(reward)
        assert drive.slot.current.version == 2
    drive.episode(1.0)
    assert drive.slot.current.version == 1
    assert (drive.slot.rollbacks, drive.slot.swaps) == (1, 1)
    assert "policy 2 failed, back to policy 1: mean return of 3 episodes 0.4, before 3" in drive.slot.last_rollback


def test_episodes_that_two_policies_drove_do_not_count(tmp_path: Path) -> None:
    drive = Drive(tmp_path, Probation(episodes=2))
    for _ in range(2):
        drive.episode(1.0)
    observation = {"angle": np.array([1.0, 0.0], np.float32), "speed": np.array([0.5], np.float32)}
    drive.controller.tick(Sample(observation, 0.0, False, 0))
    drive.controller.applied(0)
    drive.slot._ready.append(drive.second)  # in the middle of an episode
    drive.episode(-9.0)
    drive.episode(1.0)
    drive.episode(1.0)
    drive.episode(1.0)
    assert drive.slot.current.version == 2 and drive.slot.rollbacks == 0


def test_the_slot_goes_back_from_a_policy_that_is_too_slow_with_its_state(tmp_path: Path) -> None:
    drive = Drive(tmp_path, Probation(period=0.01))
    drive.episode(1.0)
    steps(drive.slot.probation, 0.001)
    drive.slot._ready.append(drive.second)
    assert drive.slot.exchange().policy.version == 2
    steps(drive.slot.probation, 0.02)
    state = drive.slot.current.state["hidden"]
    turn = drive.slot.exchange()
    assert turn.policy.version == 1 and not turn.fresh
    np.testing.assert_array_equal(drive.slot.current.state["hidden"], state)
    assert "a step takes 20.0 ms of a period of 10.0 ms" in drive.slot.last_rollback


@pytest.mark.parametrize("value", [1e300, 1.7e308, -1.7e308, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("under", ["old", "new"])
def test_returns_beyond_all_measure_neither_raise_nor_send_back(value: float, under: str) -> None:
    probation = Probation(episodes=3)
    for n in range(6):
        probation.finished(value if under == "old" and n == 4 else 1.0)
    probation.begin()
    for n in range(4):
        probation.finished(value if under == "new" and n == 1 else 1.0)
        assert probation.verdict() == "" or value < 0 or (under == "old" and value == 1e300)
