"""The page about a run shows how the return goes with what was drawn for its episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robot_dreamer.report.blocks import Figure, Section, Text
from robot_dreamer.report.history import FinishedEpisode
from robot_dreamer.report.sections.drawn import SHOWN, against_drawn, by_chance, rank_correlation


def episodes(count: int, **drawn: Any) -> list[FinishedEpisode]:
    """Of each quantity the number that `drawn` makes of the episode's; the return falls with `slip`."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        numbers = {name: float(make(i) if callable(make) else make) for name, make in drawn.items()}
        total = (0.0 if i < count // 2 else 100.0) - 10.0 * numbers.get("slip", 0.0) + rng.standard_normal()
        made.append(FinishedEpisode(i, total, 0, drawn=numbers))
    return made


def shown(found: list[FinishedEpisode]) -> tuple[list[str], list[str]]:
    section = Section("x", "X", "?")
    against_drawn(section, found)
    texts = [block.text for block in section.blocks if isinstance(block, Text)]
    return texts, [block.drawn.title for block in section.blocks if isinstance(block, Figure)]


def test_the_page_shows_first_what_the_return_goes_with_most() -> None:
    rng = np.random.default_rng(1)
    noise = {f"n{i}": (lambda _: rng.random()) for i in range(7)}
    drawn = {**noise, "slip": lambda i: float(i * 7 % 11), "still": 3.0, "<b>$x^": lambda _: rng.random()}
    (said, rest), titles = shown([*episodes(60, **drawn), FinishedEpisode(61, 1.0, 0)])
    assert titles[0] == "Return against slip" and len(titles) == SHOWN
    assert said.startswith(
        "For 60 of 61 episodes it was said what was drawn for them. The return goes down most with slip"
    )
    assert f"of 9 quantities that do not matter, one reaches {by_chance(9, 30):.2f} in one run of twenty" in said
    assert rest == f"Shown are the {SHOWN} of 9 quantities that the return goes with most."
    (said, *_), titles = shown(episodes(60, noise=lambda _: rng.random()))
    assert "The return goes visibly with none of it: most with noise (rank correlation" in said and len(titles) == 1
    assert shown(episodes(60, **{"$<script>": lambda i: i}))[1] == ["Return against $<script>"]


def test_the_page_says_where_there_is_too_little_to_show() -> None:
    assert shown([FinishedEpisode(i, 1.0, 0) for i in range(40)]) == ([], [])
    (said,), titles = shown(episodes(19, slip=lambda i: i))
    assert said.endswith("what was drawn for them; from 20 on there is a picture of it.") and not titles
    (said,), titles = shown(episodes(40, still=1.0))
    assert said.endswith("it was always the same, or the return was.") and not titles


def test_rank_correlation_shares_ranks_and_ignores_the_shape() -> None:
    x = np.arange(20.0)
    assert rank_correlation(x, -np.exp(x)) == pytest.approx(-1.0)
    assert rank_correlation(np.repeat([0.0, 1.0], 10), np.tile([0.0, 1.0], 10)) == pytest.approx(0.0)
    ours = rank_correlation(np.repeat(np.arange(5.0), 4), np.r_[np.zeros(10), np.arange(10.0)])
    assert ours == pytest.approx(0.8993491)  # scipy.stats.spearmanr
    assert np.isnan(rank_correlation(x, np.ones(20))) and np.isnan(rank_correlation(x[:9], x[:9]))
    rng = np.random.default_rng(2)
    largest = [max(abs(rank_correlation(rng.random(30), rng.random(30))) for _ in range(5)) for _ in range(100)]
    assert 0.9 < np.mean(np.array(largest) < by_chance(5, 30)) <= 1.0
