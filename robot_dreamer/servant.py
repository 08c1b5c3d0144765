"""A process that works for the one that started it: it yields to everything else, and does not outlive it.

  python -m robot_dreamer.servant MASTER MODULE [ARGUMENT...]     as `python -m MODULE [ARGUMENT...]`

Both hold from the beginning: what a module imports first may take seconds of a core that a control loop needs. Linux
may group processes by session, and then niceness counts within a session only: so that of the group is set too, for
whoever starts a servant in a session of its own.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from contextlib import suppress
from pathlib import Path

_NICE = 10
_GROUP = Path("/proc/self/autogroup")  # of a session, which shares cores with others as one: see sched(7)
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def command(module: str, *arguments: str) -> list[str]:
    """What starts a module as a servant of this process."""
    return [sys.executable, "-m", "robot_dreamer.servant", str(os.getpid()), module, *arguments]


def environment() -> dict[str, str]:
    """Of such a process, which finds the modules that this one finds."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def bind(master: int) -> bool:
    """End this process when the master's thread that started it ends; False where the master has ended already."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    return os.getppid() == master


def main() -> int:
    """Serve, see the module. Exit status 1 where the master has ended already, else that of the module."""
    _, master, module, *arguments = sys.argv
    if not bind(int(master)):
        return 1
    os.nice(_NICE)
    with suppress(OSError):  # a system that groups no processes
        _GROUP.write_text(str(_NICE))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
