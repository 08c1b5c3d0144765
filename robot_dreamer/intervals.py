"""95 % intervals: Student's of a mean, bootstraps over values, Wilson's of a rate; and the interquartile mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special  # not scipy.stats, which takes a second to import

Interval = tuple[float, float]
Statistic = Callable[[NDArray[np.float64]], Any]
CONFIDENCE = 0.95
RESAMPLES = 10_000
_ENDS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def mean_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis: (..., n) -> (...)."""
    return np.asarray(rows.mean(-1))


def middle_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interquartile mean over the last axis, as Agarwal et al. 2021 (Deep RL at the edge of the statistical precipice)
    advise: the mean of the middle half, (..., n) -> (...)."""
    quarter = rows.shape[-1] // 4
    return np.asarray(np.sort(rows, -1)[..., quarter : rows.shape[-1] - quarter].mean(-1))


def student(values: Sequence[float]) -> Interval | None:
    """Of the mean, by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    margin = special.stdtrit(len(values) - 1, _ENDS[1]) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - margin), float(np.mean(values) + margin)


def bootstrap(values: Sequence[float], statistic: Statistic = mean_of) -> Interval:
    """Of a statistic, by its percentiles over 10,000 samples with replacement, drawn with a seed of 0.

    Raises ValueError for no values.
    """
    return bootstrap_groups([values], statistic)


def bootstrap_groups(groups: Sequence[Sequence[float]], statistic: Statistic = mean_of) -> Interval:
    """Of a statistic of all values of some groups, each of which is drawn from by itself; see `bootstrap`."""
    random = np.random.default_rng(0)
    return _percentiles(statistic(np.concatenate([_samples(random, values) for values in groups], -1)))


def bootstrap_difference(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Of the mean of `ours` less that of `theirs`, which are not paired; see `bootstrap`."""
    random = np.random.default_rng(0)
    return _percentiles(mean_of(_samples(random, ours)) - mean_of(_samples(random, theirs)))


def wilson(successes: int, trials: int) -> Interval:
    """Of a success rate, by Wilson's score interval (1927).

    Raises ValueError unless 0 <= successes <= trials and trials > 0.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"expected successes of at least one trial, found {successes} of {trials}")
    z, rate = float(special.ndtri(_ENDS[1])), successes / trials
    scale = 1 + z * z / trials
    middle = (rate + z * z / (2 * trials)) / scale
    margin = z / scale * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    return max(0.0, middle - margin), min(1.0, middle + margin)


def _samples(random: np.random.Generator, values: Sequence[float]) -> NDArray[np.float64]:
    if not len(values):
        raise ValueError("expected at least one value, found none")
    return random.choice(np.asarray(values, np.float64), (RESAMPLES, len(values)))


def _percentiles(drawn: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(drawn, _ENDS)
    return float(low), float(high)
