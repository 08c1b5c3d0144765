"""Priority and core of the control loop's thread: given where permitted, named where not."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import threading

import pytest

from robot_dreamer.onboard.priority import SWITCH_INTERVAL, calm_interpreter, set_priority


def test_nothing_asked_for_nothing_done() -> None:
    assert set_priority(threading.get_native_id(), 0, -1) == []


def test_a_thread_is_bound_to_a_core() -> None:
    core = max(os.sched_getaffinity(0))
    refused: list[str] = []
    found: list[set[int]] = []

    def work() -> None:
        refused.extend(set_priority(threading.get_native_id(), 0, core))
        found.append(os.sched_getaffinity(threading.get_native_id()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert refused == [] and found == [{core}]
    assert os.sched_getaffinity(0) != {core} or len(os.sched_getaffinity(0)) == 1  # the others stay


def test_what_is_refused_is_named_with_what_would_permit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    first, second = set_priority(threading.get_native_id(), 50, 4000)
    assert "not bound to core 4000: Invalid argument; there are 0" in first
    assert "no real-time priority 50: Operation not permitted; raise the limit with `rtprio`" in second


def test_priority_is_given_where_permitted() -> None:
    found: list[int] = []
    refused: list[str] = []

    def work() -> None:
        refused.extend(set_priority(threading.get_native_id(), 1, -1))
        found.append(os.sched_getscheduler(threading.get_native_id()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if refused:
        assert "Operation not permitted" in refused[0] and found == [os.SCHED_OTHER]
    else:
        assert found == [os.SCHED_FIFO]


@pytest.mark.parametrize(("rate", "interval"), [(50, SWITCH_INTERVAL), (100, SWITCH_INTERVAL), (500, 1e-4)])
def test_the_interpreter_is_calm_for_a_while(rate: float, interval: float) -> None:
    before, frozen = sys.getswitchinterval(), gc.get_freeze_count()
    with calm_interpreter(1 / rate):
        assert sys.getswitchinterval() == pytest.approx(interval)
        assert gc.get_freeze_count() > frozen
        assert gc.isenabled()
    assert sys.getswitchinterval() == before


FREED = """
import sys
from pathlib import Path
import numpy as np
from robot_dreamer.onboard.priority import give_back_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "back":
    give_back_memory()
before = resident()
del (first := [np.ones(2 << 20)])[:]  # glibc keeps blocks up to the largest that it has seen freed
blocks = [np.ones(256 << 10) for _ in range(20)]
pin = np.ones(60 << 10)
del blocks
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that keeps them")
@pytest.mark.parametrize(("how", "least", "most"), [("kept", 20 << 20, 1 << 40), ("back", -(1 << 40), 8 << 20)])
def test_large_blocks_go_back_to_the_system_when_they_are_freed(how: str, least: int, most: int) -> None:
    done = subprocess.run([sys.executable, "-c", FREED, how], capture_output=True, text=True, check=True)
    assert least <= int(done.stdout) <= most
