"""The guard's rules, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from robot_dreamer.onboard.guard import Guard
from robot_dreamer.spec import parse_spec
from tests.onboard_models import TOY, discrete_spec, toy_spec

SLOW = parse_spec(TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], max_rate: [10.0, 5.0], neutral: [0.0, 0.5]"))


def test_commands_within_limits_pass_unchanged() -> None:
    guard = Guard(toy_spec())
    np.testing.assert_array_equal(guard.check({"torque": np.array([1.5, 0.5])})["torque"], [1.5, 0.5])
    assert (guard.clipped, guard.slewed, guard.faults, guard.fault) == (0, 0, 0, "")


def test_outside_limits_is_clipped_and_counted() -> None:
    guard = Guard(toy_spec())
    np.testing.assert_array_equal(guard.check({"torque": np.array([-9.0, 9.0])})["torque"], [-2.0, 1.0])
    assert guard.clipped == 1


def test_rate_is_limited_from_the_last_command_sent() -> None:
    guard = Guard(SLOW)  # per tick of 20 ms: 0.2 and 0.1; from neutral (0, 0.5)
    for expected in ([0.2, 0.4], [0.4, 0.3], [0.6, 0.2]):
        np.testing.assert_allclose(guard.check({"torque": np.array([2.0, 0.0])})["torque"], expected)
    assert guard.slewed == 3
    np.testing.assert_allclose(guard.neutral()["torque"], [0.4, 0.3])
    guard.forget()
    np.testing.assert_allclose(guard.check({"torque": np.array([0.1, 0.5])})["torque"], [0.1, 0.5])
    assert guard.slewed == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_latches_until_cleared(bad: float) -> None:
    guard = Guard(SLOW)
    np.testing.assert_allclose(guard.check({"torque": np.array([bad, 0.0])})["torque"], [0.0, 0.5])
    assert "command torque is not finite" in guard.fault and guard.faults == 1
    np.testing.assert_allclose(guard.check({"torque": np.array([0.1, 0.5])})["torque"], [0.0, 0.5])
    guard.latch("another reason")
    assert "not finite" in guard.fault and guard.faults == 1  # the first reason stays
    guard.clear()
    np.testing.assert_allclose(guard.check({"torque": np.array([0.1, 0.5])})["torque"], [0.1, 0.5])


def test_settle_sends_one_step_a_period_until_neutral() -> None:
    guard = Guard(SLOW)  # 0.2 and 0.1 per tick
    for _ in range(3):
        guard.check({"torque": np.array([2.0, 0.0])})
    sent: list[list[float]] = []
    slept: list[float] = []
    assert guard.settle(lambda c: sent.append(c["torque"].tolist()), slept.append)
    np.testing.assert_allclose(sent[:3], [[0.4, 0.3], [0.2, 0.4], [0.0, 0.5]], atol=1e-12)
    assert sent[-1] == [0.0, 0.5] and len(sent) <= 4  # one more for the rounding of 0.6
    assert slept == [0.02] * (len(sent) - 1)


def test_settle_gives_up_after_two_seconds() -> None:
    guard = Guard(parse_spec(TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], max_rate: [0.5, 5.0]")))
    for _ in range(200):
        guard.check({"torque": np.array([2.0, 0.0])})
    slept: list[float] = []
    assert not guard.settle(lambda c: None, slept.append)
    assert sum(slept) == pytest.approx(2.0)


def test_discrete_values_pass() -> None:
    guard = Guard(discrete_spec())
    np.testing.assert_array_equal(guard.check({"gear": np.array([5.0])})["gear"], [5.0])
    guard.latch("stop")
    np.testing.assert_array_equal(guard.neutral()["gear"], [0.0])
