"""What the stamps of a topic's messages say: each rule of the feed, and that nothing vanishes uncounted."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

pytest.importorskip("rclpy")

from robot_dreamer.onboard.feed import Feed
from robot_dreamer.onboard.observer import Observer
from tests.onboard_models import toy_spec
from tests.ros.fake_robot import joint_state

MS = 1_000_000
START = 1_700_000_000_000 * MS  # ns on the ROS clock


class Bench:
    """A feed, or an observer, with two clocks that go as told."""

    def __init__(self, lockstep: bool = False) -> None:
        self.now = START
        self.feed = Feed("t", 0.5, lockstep, lambda: self.now / 1e9, lambda: self.now)
        self.observer = Observer(toy_spec(), lockstep=lockstep, clock=lambda: self.now / 1e9, now=lambda: self.now)

    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds * MS

    def show(self, stamp: int) -> bool:
        """A message with that many ms since START as its stamp."""
        return bool(self.feed.accept(joint_state(START + stamp * MS, ["a"], [0.0])))

    def reward(self, stamp: int, reward: float) -> None:
        """ns"""
        self.observer.receive("joint_states", joint_state(stamp, ["hinge"], [0.0], [0.0]))
        self.observer.receive("task", joint_state(stamp, ["reward", "terminal"], [reward, 0.0]))


def counts(feed: Feed) -> tuple[int, int, int, int, int]:
    return feed.received, feed.repeated, feed.late, feed.unstamped, feed.jumps


def test_newer_messages_are_new_and_fresh() -> None:
    bench = Bench()
    assert bench.feed.complaint() == "t (no message yet)" and bench.feed.age() == math.inf
    for t in range(5):
        assert bench.show(20 * t)
        bench.wait(20)
    assert bench.feed.complaint() == "" and bench.feed.age() == pytest.approx(0.02)
    assert counts(bench.feed) == (5, 0, 0, 0, 0)
    bench.wait(500)
    assert bench.feed.complaint() == "t (silent for 0.5 s, allowed 0.5 s)"


def test_a_stamp_that_stands_still_is_no_sign_of_life() -> None:
    bench = Bench()
    bench.show(0)
    for _ in range(30):
        bench.wait(20)
        assert not bench.show(0)
    assert bench.feed.complaint() == "t (its stamp has stood still for 0.6 s, allowed 0.5 s)"
    assert counts(bench.feed) == (31, 30, 0, 0, 0)
    assert bench.show(600) and bench.feed.complaint() == ""


def test_late_messages_are_dropped() -> None:
    bench = Bench()
    bench.show(1000)
    bench.wait(10)
    bench.show(1010)
    assert not bench.show(1009) and not bench.show(11)
    assert counts(bench.feed) == (4, 0, 2, 0, 0)
    assert not bench.show(0)  # a second: doubted
    bench.wait(10)
    assert bench.show(10)  # the clock began again
    assert counts(bench.feed) == (6, 0, 2, 0, 1)


def test_in_lockstep_an_older_stamp_is_a_robot_that_began_again() -> None:
    bench = Bench(lockstep=True)
    bench.show(1000)
    assert bench.show(999)
    assert counts(bench.feed) == (2, 0, 0, 0, 1)


def test_a_leap_forward_is_one_unless_the_topic_was_silent() -> None:
    bench = Bench()
    bench.show(0)
    bench.wait(20)
    assert not bench.show(5000)
    bench.wait(20)
    assert bench.show(5020) and bench.feed.jumps == 1
    bench.wait(3000)
    assert bench.show(8020) and bench.feed.jumps == 1


def test_messages_without_a_stamp_get_the_time_of_their_receipt() -> None:
    bench = Bench()
    for n in range(3):
        assert bench.feed.accept(joint_state(0, ["a"], [0.0]))
        assert bench.feed.latest is not None and bench.feed.latest.stamp == bench.now
        assert counts(bench.feed) == (n + 1, 0, 0, n + 1, 0)
        bench.wait(20)
    assert bench.feed.complaint() == ""


def test_a_message_that_is_old_when_it_comes_is_stale() -> None:
    bench = Bench()
    bench.wait(1000)
    bench.show(700)
    assert bench.feed.complaint() == "" and bench.feed.age() == pytest.approx(0.3)
    bench.show(710)
    bench.wait(220)
    assert bench.feed.complaint() == "t (its stamp is 0.5 s old, allowed 0.5 s)"


@pytest.mark.parametrize("stamp", [5_000_000_000, START + 10**9, START - 3601 * 10**9])
def test_stamps_of_another_clock_say_nothing_about_age(stamp: int) -> None:
    bench = Bench()
    bench.feed.accept(joint_state(stamp, ["a"], [0.0]))
    assert bench.feed.age() == 0.0 and bench.feed.complaint() == ""


def test_messages_from_before_a_reset_are_late() -> None:
    bench = Bench()
    bench.show(1000)
    bench.feed.expect(START + 3000 * MS)
    bench.feed.latest = None
    assert not bench.show(1000) and not bench.show(1020) and not bench.show(990)
    assert bench.feed.complaint() == "t (no message yet)"
    assert bench.show(3000) and bench.show(3020)
    assert counts(bench.feed) == (6, 0, 3, 0, 0)


def test_a_clock_that_begins_again_after_a_reset_is_heard() -> None:
    bench = Bench()
    bench.show(5000)
    bench.feed.expect(START + 7000 * MS)
    bench.feed.latest = None
    assert bench.show(10) and bench.show(30)
    assert counts(bench.feed) == (3, 0, 0, 0, 1)


def test_rewards_without_a_stamp_all_count() -> None:
    bench = Bench()
    for _ in range(3):
        bench.wait(1)
        bench.reward(0, 1.0)
    assert bench.observer.sample().reward == 3.0
    assert bench.observer.counters()["unstamped task"] == 3


def test_rewards_with_a_stamp_seen_before_all_count() -> None:
    bench = Bench()
    for _ in range(3):
        bench.reward(START, 1.0)
    assert bench.observer.sample().reward == 3.0
    found = bench.observer.counters()
    assert (found["repeated joint_states"], found["repeated"], found["received"]) == (2, 2, 6)


def test_in_lockstep_a_reward_that_is_sent_again_counts_once() -> None:
    bench = Bench(lockstep=True)
    for _ in range(3):
        bench.reward(START, 1.0)
    assert bench.observer.sample().reward == 1.0
    assert bench.observer.counters()["repeated task"] == 2


def test_rewards_that_nobody_takes_are_counted_when_they_are_lost() -> None:
    bench = Bench()
    for t in range(10_003):
        bench.reward(START + t, 1.0)
    assert bench.observer.judge.lost == 3
    assert bench.observer.sample().reward == 10_000.0


def test_while_nobody_acts_the_last_message_of_each_topic_is_kept() -> None:
    bench = Bench()
    for t in range(10_003):
        bench.reward(START + t, 1.0)
        bench.observer.judge.skip()
    assert bench.observer.judge.lost == 0 and bench.observer.sample(begins=True).reward == 1.0
    for up in (0.0, 1.0):
        bench.observer.receive("task", joint_state(START, ["reward", "terminal"], [2.0, up]))
    bench.observer.judge.skip()
    sample = bench.observer.sample(begins=True)
    assert (sample.reward, sample.terminal) == (2.0, True)


def test_a_simulated_clock_that_was_never_heard_is_named() -> None:
    observer = Observer(toy_spec(), now=lambda: 0)
    assert observer.missing() == ["/clock (no time yet, although use_sim_time is set)"]


def test_in_lockstep_a_set_from_before_a_reset_is_repeated_or_late() -> None:
    bench = Bench(lockstep=True)
    bench.reward(START + 1000, 0.0)
    bench.observer.expect(START + 9000)
    bench.reward(START + 1000, 0.0)
    bench.reward(START + 2000, 0.0)
    assert bench.observer.common_stamp() == START + 1000
    bench.reward(START + 9000, 0.0)
    assert bench.observer.common_stamp() == START + 9000
    found = bench.observer.counters()
    assert (found["repeated"], found["late"], found["clock_jumps"]) == (2, 2, 0)


def test_without_a_clock_of_ours_stamps_do_not_tell_the_age() -> None:
    feed = Feed("t", 0.5, False, lambda: 100.0, None)
    feed.accept(joint_state(START, ["a"], [0.0]))
    assert feed.age() == 0.0 and feed.complaint() == ""
    feed = Feed("t", 0.5, False, lambda: 100.0, None)
    assert feed.accept(joint_state(0, ["a"], [0.0])) and feed.latest is not None and feed.latest.stamp == 100 * 10**9


@pytest.mark.parametrize("ahead", [0.029, 0.05, 0.4, 0.9, 1.5, 30.0, 10_000.0, -1.5, -10_000.0])
@pytest.mark.parametrize("at", [0, 1, 20])
def test_one_wrong_stamp_costs_two_ticks_at_most(ahead: float, at: int) -> None:
    bench, ticks = Bench(), []
    for n in range(200):  # messages at 100 Hz, ticks at 50 Hz
        bench.show(10 * n + (round(1000 * ahead) if n == at else 0))
        if n % 2:
            ticks.append(bench.feed.latest)
        bench.wait(10)
    same = [a is b for a, b in pairwise(ticks)]
    assert not any(all(same[n : n + 3]) for n in range(len(same) - 2)) and sum(same) <= 2
    assert bench.feed.jumps == 0 or at == 0


def test_a_clock_that_was_set_is_believed_with_its_second_message() -> None:
    bench = Bench()
    bench.show(0)
    for n in range(1, 5):
        bench.wait(10)
        bench.show(10 * n)
    found = []
    for n in range(5, 8):
        bench.wait(10)
        found.append(bench.show(10 * n + 400))
    assert found == [False, True, True] and bench.feed.doubted == 1


def test_messages_that_the_network_held_up_are_not_doubted() -> None:
    bench = Bench()
    for n in range(20):
        bench.wait(10)
        bench.show(10 * n)
    bench.wait(300)
    assert all(bench.show(10 * n) for n in range(20, 50))
    assert counts(bench.feed) == (50, 0, 0, 0, 0) and bench.feed.doubted == 0


@pytest.mark.parametrize(
    ("offset", "told"),
    [(0.0, False), (-0.09, False), (-0.11, True), (-3e4, True), (0.4, False), (3599.0, False), (3601.0, True)],
)
def test_an_age_that_cannot_be_told_is_said_with_the_number(offset: float, told: bool) -> None:
    bench = Bench()
    bench.feed.accept(joint_state(START - round(offset * 1e9), ["a"], [0.0]))
    assert bool(bench.feed.unjudged()) == told and bench.feed.latest is not None
    assert bench.feed.latest.offset == pytest.approx(offset)
    if told:
        assert f"{abs(offset):g} s" in bench.feed.unjudged()
        strict = Feed("t", 0.5, False, lambda: 1.0, lambda: START, synchronised=True)
        strict.accept(joint_state(START - round(offset * 1e9), ["a"], [0.0]))
        assert strict.complaint() == bench.feed.unjudged() and bench.feed.complaint() == ""


def test_a_sensor_of_another_clock_is_heard_after_a_reset_too() -> None:
    bench = Bench()
    uptime = 1_234_000 - START // MS
    assert bench.show(uptime)
    bench.wait(20)
    bench.feed.expect(START + 20 * MS)
    bench.feed.forget()
    bench.wait(20)
    assert bench.show(uptime + 40) and counts(bench.feed) == (2, 0, 0, 0, 0)
