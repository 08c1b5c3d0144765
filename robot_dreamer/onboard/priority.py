"""What system and interpreter can do for a robot: priority and a core for its loop, no long pauses, memory back.

What is not permitted is named and left; the loop runs without it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

from robot_dreamer.allocator import MMAP_THRESHOLD, mallopt

LARGE = 1 << 20  # bytes; more than a camera's picture has, less than the tensors of which a model mostly consists
SWITCH_INTERVAL = 5e-4  # seconds, at most; Python's own 5 ms is the period of a loop at 200 Hz
_SWITCHES = 20  # of a period: a tick takes the lock again half a dozen times


def set_priority(thread: int, priority: int, core: int) -> list[str]:
    """Give a thread real-time priority and a core of its own, as far as permitted.

    Args:
      thread: its native id.
      priority: of SCHED_FIFO, 1 to 99; 0 leaves the ordinary scheduler.
      core: the only one that the thread may run on; -1: any.

    Returns what was refused, why, and what would permit it; empty if all went well.
    """
    refused = []
    if core >= 0:
        try:
            os.sched_setaffinity(thread, {core})
        except OSError as error:
            allowed = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
            refused.append(f"the control loop is not bound to core {core}: {error.strerror}; there are {allowed}")
    if priority > 0:
        try:
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))
        except OSError as error:
            hint = "raise the limit with `rtprio` in /etc/security/limits.conf, or CAP_SYS_NICE"
            refused.append(f"the control loop has no real-time priority {priority}: {error.strerror}; {hint}")
    return refused


@contextlib.contextmanager
def calm_interpreter(period: float) -> Iterator[None]:
    """While the control loop of that period, seconds, runs, other threads of this process hold it up for less long.

    Everything that lives now is left out of later garbage collections, which otherwise stop all threads for tens of
    milliseconds; and a thread that computes gives the interpreter's lock away after SWITCH_INTERVAL, or a twentieth
    of the period.
    """
    before = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(min(SWITCH_INTERVAL, period / _SWITCHES))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        gc.unfreeze()


def give_back_memory() -> None:
    """From now on blocks of LARGE bytes or more go back to the system as soon as this process frees them.

    glibc would raise its own limit to the largest block that it has seen freed, and keep what loading a model leaves:
    25 MB for one of 33.
    """
    mallopt(MMAP_THRESHOLD, LARGE)
