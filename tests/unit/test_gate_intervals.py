"""Intervals against closed forms and scipy's own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sim.gate.intervals import bootstrap, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (7, 10), (10, 10), (1, 2), (83, 200)])
def test_wilson(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert wilson(10, 10)[0] == pytest.approx(10 / (10 + 1.959964**2), abs=1e-6)  # its closed form at the end


def test_bootstrap() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 30).tolist()
    expected = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", random_state=1)
    assert bootstrap(values) == pytest.approx(expected.confidence_interval, abs=0.05)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap([3.0, 3.0]) == (3.0, 3.0)
    assert bootstrap([0.0, 1.0]) == (0.0, 1.0)  # a quarter of the means is at each end


def test_nothing_has_no_interval() -> None:
    for wrong in (lambda: bootstrap([]), lambda: wilson(0, 0), lambda: wilson(3, 2)):
        with pytest.raises(ValueError, match="found"):
            wrong()
