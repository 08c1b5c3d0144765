"""Ends the programs of a supervisor that was itself killed. A script of its own: only the standard library.

Its standard input is a pipe of lines: N for a process group that began, -N for one that has ended. Every program
announces itself in that pipe before it becomes what it is, so the end of the pipe means that the supervisor is gone
and that the list is complete.
"""

from __future__ import annotations

import os
import signal
import sys
import time

LAST_WAIT = 10.0  # s after SIGKILL


def alive(group: int) -> bool:
    """Whether any process of the group exists."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def signal_group(group: int, number: int) -> None:
    """Signal every process of a group that may be gone already."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def main() -> None:
    """Read until the pipe ends, then end what is left. Arguments: seconds to wait after SIGINT, and after SIGTERM."""
    grace, mercy = (float(x) for x in sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line)
        if group > 0:
            groups.add(group)
        else:
            groups.discard(-group)
    if groups:
        print(f"the supervisor is gone: stopping its {len(groups)} programs", file=sys.stderr, flush=True)
    for number, patience in ((signal.SIGINT, grace), (signal.SIGTERM, mercy), (signal.SIGKILL, LAST_WAIT)):
        for group in groups:
            signal_group(group, number)
        deadline = time.monotonic() + patience
        while groups and time.monotonic() < deadline:
            time.sleep(0.05)
            groups = {group for group in groups if alive(group)}


if __name__ == "__main__":
    main()
