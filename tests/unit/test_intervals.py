"""Intervals against closed forms and scipy's own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from robot_dreamer.intervals import bootstrap, bootstrap_difference, middle_of, student, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (7, 10), (10, 10), (1, 2), (83, 200)])
def test_wilson(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert wilson(10, 10)[0] == pytest.approx(10 / (10 + 1.959964**2), abs=1e-6)  # its closed form at the end


def test_students_interval() -> None:
    # t(0.975, 3) = 3.1824; standard deviation of 1, 2, 3, 4 is 1.29099
    low, high = student([1.0, 2.0, 3.0, 4.0]) or (0, 0)
    assert (low, high) == (
        pytest.approx(2.5 - 3.18245 * 1.290994 / 2, 1e-5),
        pytest.approx(2.5 + 3.18245 * 1.290994 / 2, 1e-5),
    )


def test_bootstrap() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 30).tolist()
    expected = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", random_state=1)
    assert bootstrap(values) == pytest.approx(expected.confidence_interval, abs=0.05)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap([3.0, 3.0]) == (3.0, 3.0)
    assert bootstrap([0.0, 1.0]) == (0.0, 1.0)  # a quarter of the means is at each end


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    assert middle_of(np.array([0.0, 10.0, 20.0, 1000.0])) == 15.0
    for count in range(1, 12):
        values = np.random.default_rng(count).normal(size=(3, count))
        assert middle_of(values) == pytest.approx(stats.trim_mean(values, 0.25, axis=-1))
    assert bootstrap([0.0, 10.0, 20.0, 1000.0], middle_of)[0] >= 0.0
    assert bootstrap([5.0] * 4, middle_of) == (5.0, 5.0)


def test_bootstrap_of_a_difference() -> None:
    random = np.random.default_rng(2)
    a, b = random.normal(5.0, 2.0, 30).tolist(), random.normal(3.0, 1.0, 20).tolist()
    low, high = bootstrap_difference(a, b)
    error = np.hypot(np.std(a) / np.sqrt(30), np.std(b) / np.sqrt(20))
    middle = np.mean(a) - np.mean(b)
    assert (low, high) == pytest.approx((middle - 1.96 * error, middle + 1.96 * error), abs=0.06)
    assert bootstrap_difference([1.0], [3.0]) == (-2.0, -2.0)


def test_nothing_has_no_interval() -> None:
    for wrong in (lambda: bootstrap([]), lambda: wilson(0, 0), lambda: wilson(3, 2)):
        with pytest.raises(ValueError, match="found"):
            wrong()
