"""The Butterworth filter against scipy, against the numbers of DayDreamer's A1, and its start without a jump."""

from __future__ import annotations

import numpy as np
import pytest

from robot_dreamer.onboard.low_pass import CommandLowPass, LowPass, butterworth
from robot_dreamer.spec import parse_spec
from tests.onboard_models import TOY

A1_B, A1_A = [0.0412535, 0.0825071, 0.0412535], [-1.3489677, 0.5139819]  # 2nd order, 1.5 Hz at 20 Hz


def test_the_a1s_coefficients() -> None:
    np.testing.assert_allclose(butterworth(2, 1.5, 20.0), [[*A1_B, *A1_A]], atol=5e-8)


@pytest.mark.parametrize("order", range(1, 9))
@pytest.mark.parametrize("cutoff", [0.3, 5.0, 24.0])
def test_the_output_is_scipys(order: int, cutoff: float) -> None:
    signal = pytest.importorskip("scipy.signal")
    inputs = np.random.default_rng(order).normal(size=(300, 3))
    sos = signal.butter(order, cutoff, fs=50.0, output="sos")
    low_pass = LowPass(butterworth(order, cutoff, 50.0), 3)
    outputs = np.stack([low_pass.step(x) for x in inputs])
    np.testing.assert_allclose(outputs, signal.sosfilt(sos, inputs, axis=0), atol=1e-9)


def test_a_step_response_settles_at_the_input() -> None:
    low_pass = LowPass(butterworth(2, 1.5, 20.0), 1)
    response = [float(low_pass.step(np.ones(1))[0]) for _ in range(200)]
    assert response[0] == pytest.approx(A1_B[0], abs=1e-6)
    assert 1.0 < max(response) < 1.06  # a Butterworth filter overshoots a little
    assert response[-1] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("order", range(1, 9))
def test_after_a_reset_it_goes_on_without_a_jump(order: int) -> None:
    low_pass = LowPass(butterworth(order, 2.0, 50.0), 2)
    for _ in range(20):
        low_pass.step(np.array([5.0, -3.0]))
    start = np.array([0.5, 2.0])
    low_pass.reset(start)
    for _ in range(50):
        np.testing.assert_allclose(low_pass.step(start), start, atol=1e-9)


def test_only_actions_that_have_one_are_filtered() -> None:
    plain = "  - {name: plain, low: [-1], high: [1], command: {topic: other}}\nreward:"
    text = TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], filter: {cutoff: 3.0}").replace("reward:", plain, 1)
    spec = parse_spec(text)
    filters = CommandLowPass(spec.actions, spec.rate)
    filters.reset({"torque": np.zeros(2), "plain": np.zeros(1)})
    out = filters.step({"torque": np.array([2.0, 1.0]), "plain": np.array([1.0])})
    np.testing.assert_allclose(out["torque"], butterworth(2, 3.0, 50.0)[0, 0] * np.array([2.0, 1.0]))
    np.testing.assert_array_equal(out["plain"], [1.0])
