"""The rate loop's arithmetic, with a clock that only moves when told."""

from __future__ import annotations

import pytest

from robot_dreamer.onboard.rate import RateLoop


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.oversleep = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds + self.oversleep


def make() -> tuple[RateLoop, Clock]:
    clock = Clock()
    return RateLoop(0.25, clock, clock.sleep), clock


def test_deadlines_are_absolute() -> None:
    loop, clock = make()
    starts = []
    for work in (0.0, 0.125, 0.0625, 0.1875, 0.0):
        loop.wait()
        starts.append(clock.now)
        clock.now += work
    assert starts == [100.0, 100.25, 100.5, 100.75, 101.0]
    assert (loop.ticks, loop.misses) == (5, 0)


def test_overrun_skips_and_never_bursts() -> None:
    loop, clock = make()
    loop.wait()
    clock.now += 0.75 + 0.125  # past the deadlines at .25, .5 and .75
    assert loop.wait() == 3
    assert clock.now == 101.0  # on the grid
    assert loop.wait() == 0
    assert clock.now == 101.25  # one period later, nothing is made up for
    assert (loop.ticks, loop.misses) == (3, 3)


def test_work_that_ends_exactly_at_the_deadline_has_missed_it() -> None:
    loop, clock = make()
    loop.wait()
    clock.now += 0.25
    assert loop.wait() == 1
    assert clock.now == 100.5


def test_oversleeping_does_not_drift() -> None:
    loop, clock = make()
    clock.oversleep = 0.03125
    for _ in range(9):
        loop.wait()
    stats = loop.stats()
    assert clock.now == 100.0 + 8 * 0.25 + 0.03125
    assert stats.misses == 0 and stats.jitter_max == 0.03125 and stats.jitter_p50 == 0.03125


def test_stats() -> None:
    loop, clock = make()
    assert loop.stats().ticks == 0
    for work in (0.125, 0.0625, 0.0):
        loop.wait()
        clock.now += work
    stats = loop.stats()
    assert (stats.ticks, stats.misses, stats.period, stats.busy_max, stats.jitter_max) == (3, 0, 0.25, 0.125, 0.0)


def test_more_ticks_than_the_window() -> None:
    loop, clock = make()
    for _ in range(5000):
        loop.wait()
    assert loop.stats().ticks == 5000 and loop.stats().period == 0.25


def test_period_must_be_positive() -> None:
    with pytest.raises(ValueError, match="period must be positive"):
        RateLoop(0.0)


def test_history_tells_of_each_tick() -> None:
    loop, clock = make()
    for work in (0.125, 0.625, 0.0):
        loop.wait()
        clock.now += work
    clock.oversleep = 0.0625
    loop.wait()
    first = loop.history(0)
    assert first.until == 4
    assert first.starts.tolist() == [100.0, 100.25, 101.0, 101.3125]
    assert first.missed.tolist() == [0, 0, 2, 0]
    assert first.late.tolist() == [0, 0, 0, 0.0625]
    loop.wait()
    assert loop.history(first.until).starts.tolist() == [101.5625]
    assert len(loop.history(5).starts) == 0
    for _ in range(5000):
        loop.wait()
    assert len(loop.history(5).starts) == 4096


def test_overdue_counts_from_the_deadline_that_a_long_tick_runs_past() -> None:
    loop, clock = make()
    assert loop.overdue == 0.0
    loop.wait()
    clock.now += 0.25
    assert loop.overdue == 0.0
    clock.now += 0.5
    assert loop.overdue == 0.5
    loop.wait()
    assert loop.overdue == 0.0
