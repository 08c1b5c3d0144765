"""95 % intervals: percentile bootstrap of a mean, Wilson's of a rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

Interval = tuple[float, float]
CONFIDENCE = 0.95
RESAMPLES = 10_000


def bootstrap(values: Sequence[float]) -> Interval:
    """Of the mean, by the percentiles of the means of 10,000 samples with replacement, drawn with a seed of 0.

    Raises ValueError for no values.
    """
    if not values:
        raise ValueError("expected at least one value, found none")
    drawn = np.random.default_rng(0).choice(np.asarray(values, np.float64), (RESAMPLES, len(values)))
    low, high = np.quantile(drawn.mean(1), ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)


def wilson(successes: int, trials: int) -> Interval:
    """Of a success rate, by Wilson's score interval (1927).

    Raises ValueError unless 0 <= successes <= trials and trials > 0.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"expected successes of at least one trial, found {successes} of {trials}")
    z, rate = float(stats.norm.ppf((1 + CONFIDENCE) / 2)), successes / trials
    scale = 1 + z * z / trials
    middle = (rate + z * z / (2 * trials)) / scale
    margin = z / scale * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    return max(0.0, middle - margin), min(1.0, middle + margin)
