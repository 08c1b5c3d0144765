"""What episodes come to, and whether that is enough."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_dreamer.intervals import Interval, bootstrap, wilson
from sim.episode import Episode
from sim.gate.conditions import ALL, EACH, NOMINAL, RANDOM, Condition
from sim.gate.criteria import Criteria, Nominal, Success, Threshold

LOST = "simulation lost"


@dataclass(frozen=True)
class Result:
    """Of one condition.

    Attributes:
      interval: of the mean return.
      share, share_interval: of nominal's mean return above that of random actions; None where nominal is not above.
      successes, success_interval: None where the criteria do not say what a success is.
      faults: what stopped episodes, by the guard's rule, the kind of a refused sample, or LOST.
      limited: commands that the guard clipped or slewed.
      drawn: per episode, how it differed from the nominal model.
    """

    condition: Condition
    returns: list[float]
    lengths: list[int]
    mean: float
    interval: Interval
    share: float | None
    share_interval: Interval | None
    successes: int | None
    success_interval: Interval | None
    faults: dict[str, int]
    limited: int
    drawn: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Check:
    """One criterion under one condition. found: None where there is no such number."""

    condition: str
    criterion: str
    wanted: float
    found: float | None
    passed: bool


def results(
    conditions: Sequence[Condition], episodes: Sequence[Sequence[Episode]], success: Success | None
) -> list[Result]:
    """Of each condition; nominal and random actions are among them."""
    means = {
        condition.group: float(np.mean([episode.score for episode in found]))
        for condition, found in zip(conditions, episodes, strict=True)
        if condition.group in (NOMINAL, RANDOM)
    }
    return [
        _result(condition, found, success, means[RANDOM], means[NOMINAL])
        for condition, found in zip(conditions, episodes, strict=True)
    ]


def _result(
    condition: Condition, episodes: Sequence[Episode], success: Success | None, random: float, nominal: float
) -> Result:
    returns = [episode.score for episode in episodes]
    mean, interval = float(np.mean(returns)), bootstrap(returns)
    shares = [(value - random) / (nominal - random) for value in (mean, *interval)] if nominal > random else None
    successes = None if success is None else sum(_succeeded(episode, success) for episode in episodes)
    faults: Counter[str] = Counter()
    for episode in episodes:
        faults.update(episode.faults)
        faults[LOST] += episode.lost
    return Result(
        condition=condition,
        returns=returns,
        lengths=[episode.length for episode in episodes],
        mean=mean,
        interval=interval,
        share=shares[0] if shares else None,
        share_interval=(shares[1], shares[2]) if shares else None,
        successes=successes,
        success_interval=None if successes is None else wilson(successes, len(episodes)),
        faults=dict(+faults),
        limited=sum(episode.limited for episode in episodes),
        drawn=[episode.drawn for episode in episodes if episode.drawn],
    )


def _succeeded(episode: Episode, success: Success) -> bool:
    if episode.lost or (episode.faults and not episode.terminal):
        return False
    enough = success.min_return is None or episode.score >= success.min_return
    return enough and (success.terminal is None or episode.terminal == success.terminal)


def judge(found: Sequence[Result], criteria: Criteria) -> list[Check]:
    """All criteria. The lower end of an interval counts, so that few episodes rather fail than pass."""
    random = next(result for result in found if result.condition.group == RANDOM)
    checks: list[Check] = []
    for result in found:
        threshold = _threshold(result.condition, criteria)
        if threshold is None:
            continue
        name = result.condition.name
        if isinstance(threshold, Nominal) and threshold.above_random:
            high = random.interval[1]
            checks.append(Check(name, "above_random", high, result.interval[0], result.interval[0] > high))
        lowest = {
            "min_return": result.interval,
            "min_share": result.share_interval,
            "min_success": result.success_interval,
        }
        for criterion, interval in lowest.items():
            wanted = getattr(threshold, criterion, None)
            if wanted is not None:
                low = None if interval is None else interval[0]
                checks.append(Check(name, criterion, wanted, low, low is not None and low >= wanted))
        faults = sum(result.faults.values())
        checks.append(Check(name, "max_faults", criteria.max_faults, faults, faults <= criteria.max_faults))
    return checks


def _threshold(condition: Condition, criteria: Criteria) -> Threshold | Nominal | None:
    """What a condition must reach; None: it is shown only."""
    group = condition.group
    if group == RANDOM:
        return None
    if group in (NOMINAL, EACH, ALL):
        threshold: Threshold | Nominal = getattr(criteria, group)
        return threshold
    ladder = getattr(criteria.ladders, group)
    judged = condition.amount is not None and abs(condition.amount) <= ladder.up_to + 1e-9
    return ladder if judged else None


def worst_first(found: Sequence[Result]) -> list[Result]:
    """By mean return, random actions aside."""
    return sorted((r for r in found if r.condition.group != RANDOM), key=lambda result: result.mean)


@dataclass(frozen=True)
class Difference:
    """Of the bundle's returns less another's, seed by seed."""

    condition: str
    mean: float
    interval: Interval


def differences(ours: Sequence[Result], theirs: Sequence[Result]) -> list[Difference]:
    """Per condition, paired by seed."""
    found = []
    for our, their in zip(ours, theirs, strict=True):
        paired = [a - b for a, b in zip(our.returns, their.returns, strict=True)]
        found.append(Difference(our.condition.name, math.fsum(paired) / len(paired), bootstrap(paired)))
    return found
