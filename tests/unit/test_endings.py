"""Which signals end a program, and that what was there before comes back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from robot_dreamer.endings import ended_by

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def test_each_ends_it_and_is_what_it_was_afterwards() -> None:
    before, heard = [signal.getsignal(number) for number in ALL], list[int]()
    with ended_by(lambda number, _: heard.append(number)):
        for number in ALL:
            os.kill(os.getpid(), number)
    expected = [n for n in ALL if n is not signal.SIGHUP or before[2] is not signal.SIG_IGN]  # a test under nohup
    assert heard == expected and [signal.getsignal(number) for number in ALL] == before


def test_a_terminal_is_closed_once_although_it_is_told_twice() -> None:
    """The second wish to end is more urgent for who supervises others: it cuts off what they save."""
    before, heard = signal.signal(signal.SIGHUP, signal.default_int_handler), list[int]()
    try:
        for _ in range(2):
            with ended_by(lambda number, _: heard.append(number)):
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGHUP)
        assert heard == [signal.SIGHUP] * 2 and signal.getsignal(signal.SIGHUP) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nohup_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by(lambda *_: pytest.fail("a closed terminal ended it")):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_thread_leaves_them_alone() -> None:
    found = list[object]()

    def inside() -> None:
        with ended_by(lambda *_: None):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join(10)
    assert found == [signal.getsignal(signal.SIGTERM)]
