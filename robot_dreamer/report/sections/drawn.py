"""How the return goes with what was drawn for an episode (`simulation.vary`, `simulation.delay`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.report.blocks import Section
from robot_dreamer.report.charts import Chart, Series
from robot_dreamer.report.history import FinishedEpisode

SHOWN = 6  # quantities that are drawn, those that the return goes with most first
FEWEST = 10  # episodes of the later half, to say anything of them
_CHANCE = 0.05  # of runs in which chance alone reaches the bound that is told
_LABEL = 50  # characters of an axis
_UNITS = "Numbers are as they were drawn: a factor, a sum or a value, as simulation.vary says; delays in seconds."


def against_drawn(section: Section, episodes: Sequence[FinishedEpisode]) -> None:
    """Add the charts and what they say; nothing where nothing was drawn.

    A policy that learns makes the return of early episodes differ for another reason: so the correlation is that of the
    later half, by ranks, so that neither outliers nor the shape of the dependence decide (Spearman 1904). Of many
    quantities one seems to matter by chance: the bound is Bonferroni's.
    """
    known = [episode for episode in episodes if episode.drawn]
    if not known:
        return
    later = known[len(known) // 2 :]
    said = f"For {len(known):,} of {len(episodes):,} episodes it was said what was drawn for them"
    if len(known) < 2 * FEWEST:
        section.say(f"{said}; from {2 * FEWEST} on there is a picture of it.", "missing")
        return
    found = {name: rank_correlation(*_points(later, name)) for name in {n: 0 for e in later for n in e.drawn}}
    order = sorted((name for name in found if math.isfinite(found[name])), key=lambda name: -abs(found[name]))
    if not order:
        section.say(f"{said}; it was always the same, or the return was.", "missing")
        return
    section.say(f"{said}. {_verdict(order[0], found[order[0]], len(order), len(later))} {_UNITS}")
    for name in order[:SHOWN]:
        section.chart(_chart(name, known[: len(known) // 2], later, found[name]))
    if len(order) > SHOWN:
        section.say(f"Shown are the {SHOWN} of {len(order)} quantities that the return goes with most.")


def rank_correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Spearman's, equal numbers sharing their rank; NaN where all of one are equal, or fewer than FEWEST are there."""
    if len(x) < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def by_chance(quantities: int, episodes: int) -> float:
    """What the largest correlation of so many quantities stays below in 95 of 100 runs in which none matters."""
    return NormalDist().inv_cdf(1 - _CHANCE / (2 * quantities)) / math.sqrt(episodes - 1)


def _verdict(name: str, correlation: float, quantities: int, episodes: int) -> str:
    bound = by_chance(quantities, episodes)
    most = f"rank correlation {correlation:+.2f} over the later {episodes:,}"
    chance = f"of {quantities} quantities that do not matter, one reaches {bound:.2f} in one run of twenty"
    if abs(correlation) < bound:
        return f"The return goes visibly with none of it: most with {name} ({most}; {chance})."
    return f"The return goes {'down' if correlation < 0 else 'up'} most with {name} ({most}; {chance})."


def _chart(
    name: str, earlier: Sequence[FinishedEpisode], later: Sequence[FinishedEpisode], correlation: float
) -> Chart:
    label = name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…"
    return Chart(
        f"Return against {name}",
        label.replace("$", r"\$"),  # which would begin a formula
        "return of an episode",
        [
            Series("earlier episodes", *_points(earlier, name), style="dots", colour=1),
            Series("later episodes", *_points(later, name), style="dots", colour=0),
        ],
        f"Rank correlation over the later half: {correlation:+.2f}.",
    )


def _points(episodes: Sequence[FinishedEpisode], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draws and returns of those that have it."""
    pairs = [(e.drawn[name], e.total) for e in episodes if name in e.drawn and math.isfinite(e.total)]
    drawn, totals = np.array(pairs, np.float64).reshape(-1, 2).T
    return drawn, totals


def _ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks
