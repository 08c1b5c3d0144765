"""The buttons of the emergency stop: every press counts, each button has its own last word, silence and end."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Hashable
from typing import Any

import pytest

from robot_dreamer.onboard.buttons import PRESSED, Buttons
from robot_dreamer.onboard.guard import Guard
from tests.onboard_models import toy_spec

A, B = b"a", b"b"
NODES: dict[Hashable, str] = {A: "/left", B: "/right"}


class Desk:
    """Two buttons, a guard, and a clock that is set by hand."""

    def __init__(self, timeout: float = 0.0, there: dict[Hashable, str] | None = None) -> None:
        self.now = 0.0
        self.guard = Guard(toy_spec())
        self.buttons = Buttons(timeout, lambda: self.now)
        self.buttons.look(NODES if there is None else there)
        self.buttons.attach(self.guard)
        self.stamp = itertools.count(1)

    def says(self, source: Hashable | None, pressed: bool) -> None:
        self.buttons.hear(source, next(self.stamp), pressed)

    @property
    def fault(self) -> str:
        return "" if self.guard.fault is None else self.guard.fault.reason


@pytest.mark.parametrize("source", [A, None])
def test_the_shortest_press_latches(source: Any) -> None:
    desk = Desk()
    for _ in range(20):
        desk.says(source, True)
        desk.says(source, False)
        assert desk.guard.clear() is not None
    assert desk.buttons.presses == 20 and desk.guard.faults["e_stop"] == 20


@pytest.mark.parametrize("words", list(itertools.product([(A, True), (A, False), (B, True), (B, False)], repeat=4)))
def test_it_is_pressed_as_long_as_the_last_word_of_any_button_is_true(words: Any) -> None:
    desk = Desk()
    for source, pressed in words:
        desk.says(source, pressed)
    last = dict(words)
    assert desk.buttons.pressed == any(last.values())
    assert desk.buttons.problem() == (PRESSED if any(last.values()) else "")
    assert bool(desk.fault) == any(pressed for _, pressed in words)


def test_a_press_while_a_person_clears_another_fault_is_not_cleared_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    limit, clear = desk.guard.latch("limit", "too warm"), desk.guard.clear
    tap = threading.Thread(target=lambda: (desk.says(A, True), desk.says(A, False)))

    def at_the_worst_moment() -> Any:
        tap.start()
        tap.join(0.2)
        return clear()

    monkeypatch.setattr(desk.guard, "clear", at_the_worst_moment)
    assert desk.buttons.clear() is limit
    tap.join()
    assert desk.fault == PRESSED and not desk.buttons.pressed
    desk.says(A, True)
    with pytest.raises(ValueError, match="pressed"):
        desk.buttons.clear()


def test_a_word_that_comes_twice_counts_once_and_an_older_one_does_not_release() -> None:
    desk = Desk()
    for stamp, pressed in ((1, True), (2, False), (1, True)):
        desk.buttons.hear(A, stamp, pressed)
    assert not desk.buttons.pressed and desk.buttons.presses == 1
    for stamp, pressed in ((5, True), (4, False)):  # two ways of hearing, one is slower
        desk.buttons.hear(A, stamp, pressed)
    assert desk.buttons.pressed
    desk.guard.clear()
    desk.buttons.hear(B, 7, False)
    desk.buttons.hear(B, 6, True)  # came late, was sent all the same
    assert desk.fault == PRESSED


def test_a_button_whose_clock_was_set_back_is_heard() -> None:
    desk = Desk()
    desk.buttons.hear(A, 100_000_000_000, False)
    desk.buttons.hear(A, 70_000_000_000, True)  # and it says no more while it is held
    assert desk.fault and desk.buttons.problem() == PRESSED
    desk.buttons.hear(A, 71_000_000_000, False)
    assert not desk.buttons.problem()


def test_a_release_from_a_buttons_history_does_not_release_it() -> None:
    """One subscription may be given what was said long ago, behind what another has brought."""
    desk = Desk()
    hour = 3_600_000_000_000
    for stamp, pressed in ((2 * hour, True), (hour, False), (2 * hour, True)):
        desk.buttons.hear(A, stamp, pressed)
    assert desk.buttons.problem() == PRESSED


def test_an_unknown_button_among_several_releases_nothing() -> None:
    desk = Desk()
    desk.says(None, True)
    desk.says(None, False)
    assert desk.buttons.pressed  # perhaps another's false
    desk.buttons.look({A: "/left"})
    desk.says(None, False)
    assert not desk.buttons.pressed


def test_a_button_that_is_gone_latches() -> None:
    desk = Desk()
    desk.says(A, False)
    desk.buttons.look({B: "/right"})
    assert desk.fault == "a button is gone: node /left no longer publishes topic e_stop"
    assert desk.buttons.problem() == ""
    desk.guard.clear()
    desk.buttons.look({B: "/right"})
    assert desk.fault == ""
    desk.now = 2.0
    desk.buttons.look({})  # it never spoke
    assert "/right" in desk.fault


def test_a_button_that_was_about_to_go_when_we_came_was_none_of_ours() -> None:
    desk = Desk()
    desk.now = 0.5
    desk.buttons.look({})
    assert desk.fault == ""


def test_a_button_that_is_gone_while_pressed_stays_so_until_a_person_has_it_forgotten() -> None:
    desk = Desk()
    desk.says(A, True)
    desk.buttons.look({B: "/right"})
    desk.says(B, False)
    problem = desk.buttons.problem()
    assert "pressed by a button that is gone (/left)" in problem and "~/forget_e_stop" in problem
    desk.guard.clear()
    desk.buttons.poll()
    assert desk.fault == problem
    assert desk.buttons.forget() == "/left"
    assert desk.buttons.problem() == "" and not desk.buttons.pressed
    assert desk.buttons.forget() == ""


def test_nobody_forgets_a_button_that_is_there() -> None:
    desk = Desk()
    desk.says(A, True)
    assert desk.buttons.forget() == "" and desk.buttons.pressed


def test_nobody_forgets_a_button_that_may_be_there_under_another_identity() -> None:
    desk = Desk()
    desk.says(b"another kind of identity", True)
    desk.now = 10.0
    with pytest.raises(ValueError, match="may be one of those that are there: /left, /right"):
        desk.buttons.forget()
    assert desk.buttons.problem() == PRESSED
    desk.buttons.look({})
    assert desk.buttons.forget() == "a button of an unknown node"


def test_a_button_that_came_and_went_before_it_was_discovered_can_be_forgotten() -> None:
    desk = Desk()
    desk.says(A, False)  # identities match
    desk.says(b"c", True)
    with pytest.raises(ValueError, match="may be one of those"):
        desk.buttons.forget()
    desk.now = 1.5
    assert "a button that is gone (a button of an unknown node)" in desk.buttons.problem()
    assert desk.buttons.forget() == "a button of an unknown node" and not desk.buttons.pressed


def test_each_button_has_its_own_silence() -> None:
    desk = Desk(timeout=1.0)
    assert desk.fault == "topic e_stop has not spoken yet"
    desk.says(A, False)
    desk.guard.clear()
    for _ in range(11):
        desk.now += 0.125
        desk.says(B, False)
        desk.buttons.poll()
    assert desk.fault == "topic e_stop is silent for 1.1 s, allowed 1 s (/left)"
    desk.says(A, False)
    assert desk.buttons.problem() == ""


def test_a_button_that_comes_and_says_nothing_is_silent() -> None:
    desk = Desk(timeout=1.0, there={A: "/left"})
    desk.says(A, False)
    desk.buttons.look(NODES)
    desk.now = 1.5
    desk.says(A, False)
    assert "(/right)" in desk.buttons.problem()


def test_where_identities_do_not_match_the_graph_only_who_speaks_is_judged() -> None:
    desk = Desk(timeout=1.0, there={A: "/left"})
    desk.guard.clear()
    for _ in range(20):
        desk.now += 0.5
        desk.says(None, False)
        desk.buttons.look({A: "/left"})
    assert desk.fault == ""
    desk.now += 2.0
    desk.buttons.poll()
    assert "silent" in desk.fault


def test_when_all_buttons_are_gone_silence_still_counts() -> None:
    desk = Desk(timeout=1.0)
    desk.says(A, False)
    desk.says(B, False)
    desk.buttons.look({})
    desk.guard.clear()
    desk.now = 1.5
    assert desk.buttons.problem() == "topic e_stop is silent for 1.5 s, allowed 1 s"


def test_a_button_that_cannot_be_heard_latches_and_keeps_the_fault() -> None:
    desk = Desk()
    desk.buttons.look(NODES, "topic e_stop: expected Bool, found Int8")
    assert desk.fault == desk.buttons.problem() == "topic e_stop: expected Bool, found Int8"
    desk.buttons.look(NODES)
    assert desk.buttons.problem() == ""


def test_a_press_before_there_is_a_guard_waits_for_it() -> None:
    desk = Desk()
    desk.buttons.attach(None)
    desk.says(A, True)
    desk.says(A, False)
    assert desk.fault == ""
    desk.buttons.attach(desk.guard)
    assert desk.fault == PRESSED
    desk.guard.clear()
    desk.buttons.attach(desk.guard)
    assert desk.fault == ""


def test_a_press_that_nobody_has_cleared_outlives_its_guard() -> None:
    """A node that is configured anew has another guard."""
    desk, other = Desk(), Guard(toy_spec())
    desk.says(A, True)
    desk.says(A, False)
    desk.buttons.attach(None)
    desk.buttons.attach(other)
    assert other.fault is not None and (other.fault.rule, other.fault.reason) == ("e_stop", PRESSED)
    desk.buttons.clear()
    last = Guard(toy_spec())
    desk.buttons.attach(None)
    desk.buttons.attach(last)
    assert last.fault is None
