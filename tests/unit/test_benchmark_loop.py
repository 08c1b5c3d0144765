"""The loop benchmark's arithmetic: which misses fall into swaps. The measurement itself is run by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.loop import Result, line, spec_at, swap_windows
from benchmarks.loop_course import Course, Ticks, draw_course
from robot_dreamer.onboard.rate import RateHistory, RateLoop


def test_misses_are_told_apart_by_swaps() -> None:
    starts = np.arange(100) * 0.01
    missed = np.zeros(100)
    missed[[20, 45, 47, 80]] = 1, 2, 1, 1
    windows = [(0.195, 0.205), (0.40, 0.45)]  # ends at 0.225 and 0.47
    ticks = RateHistory(100, starts, np.full(100, 1e-4), missed)
    idle = RateHistory(199, np.arange(199) * 0.01, np.zeros(199), np.eye(1, 199)[0])
    result = Result(100.0, Course(ticks, idle, np.zeros((1, 3)), windows), 100, 0.002)
    assert np.flatnonzero(result.in_swaps).tolist() == [20, 21, 22, *range(40, 48)]
    assert float(result.ticks.missed[result.in_swaps].sum()) == 4
    columns = line(result).split()
    assert columns[:6] == ["100", "105", "5", "4.762", "2", "4"]
    assert columns[-2:] == ["0.500", "100"]


def test_a_swap_is_paired_with_the_offer_of_its_own_bundle() -> None:
    """Bundle 3 was offered before anything was counted, 5 was superseded by 6, and 7 acts after the end."""
    offered = {3: -1.0, 4: 4.0, 5: 9.0, 6: 9.5, 7: 14.0}
    assert swap_windows(offered, {3: 0.1, 4: 5.0, 6: 10.5}) == [(-1.0, 0.1), (4.0, 5.0), (9.5, 10.5)]


@pytest.mark.parametrize("rate", [50.0, 200.0])
def test_the_robot_differs_in_rate_only(rate: float) -> None:
    spec = spec_at(rate)
    assert spec.rate == rate and spec.episode.reset_service == ""
    assert [o.name for o in spec.observations] == ["cart_position", "joint_velocity", "pole_angle"]


def test_ticks_keeps_a_history_longer_than_the_loop_does() -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds + 1e-4

    loop, ticks = RateLoop(0.01, lambda: now, sleep), Ticks(10_000)
    loop.wait()
    ticks.begin(loop)
    for _ in range(9_000):
        loop.wait()
        ticks.take(loop)
    ticks.take(loop, 0)
    history = ticks.history()
    assert len(history.starts) == 9_000 and history.missed.sum() == 0
    np.testing.assert_allclose(np.diff(history.starts), 0.01, atol=1e-9)
    np.testing.assert_allclose(history.late, 1e-4, atol=1e-9)


def course(minutes: int, growth: float) -> Course:
    """At 10 Hz: the node misses one deadline a minute, the loop beside it none; memory grows by bytes a second."""
    starts = np.arange(600 * minutes) / 10
    missed = (np.arange(600 * minutes) % 600 == 599).astype(float)
    seconds = np.arange(0, 60.0 * minutes, 5.0)
    early = 1e6 * np.minimum(seconds, 300)  # what fills up in the first minutes is no leak
    resources = np.stack((seconds, 1e8 + early + growth * seconds, 0.2 * seconds), 1)
    node = RateHistory(len(starts), starts, np.full(len(starts), 2e-3), missed)
    idle = RateHistory(len(starts), starts, np.full(len(starts), 1e-3), np.zeros(len(starts)))
    return Course(node, idle, resources, [(59.0, 60.0), (119.0, 120.0)])


def test_a_leak_is_told_from_the_first_minutes_filling_up() -> None:
    assert course(20, 1000.0).growth == pytest.approx(3.6e6)
    assert "+3.60 MB/h after 300 s" in course(20, 1000.0).summary()
    assert "too short for a growth" in course(4, 0.0).summary()
    assert course(20, 0.0).summary().endswith("missed 20, the idle loop beside it 0: +20")
    assert "20.0% of a core" in course(20, 0.0).summary()


def test_the_picture_of_a_course_is_drawn(tmp_path: Path) -> None:
    draw_course(course(10, 0.0), 10.0, tmp_path / "course.png")
    assert (tmp_path / "course.png").stat().st_size > 10_000
