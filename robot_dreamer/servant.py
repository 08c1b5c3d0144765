"""A process that works for the one that started it: it yields to everything else, and does not outlive it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_NICE = 10
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def environment() -> dict[str, str]:
    """Of such a process, which finds the modules that this one finds."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def serve(master: int) -> bool:
    """Be killed when the process of this id is, and run after everything else; False if it was, before that."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != master:
        return False
    os.nice(_NICE)
    return True
