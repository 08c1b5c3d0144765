"""Real processes for the tests of the link, to be killed: `python link_peers.py learner|robot ...`."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import Timing
from robot_dreamer.spec import load_spec

SPEC = load_spec("cartpole")
FAST = Timing(
    commit=0.01,
    poll=0.005,
    hello=0.1,
    heartbeat=0.05,
    silence=1.5,
    acknowledge=0.3,
    piece=0.3,
    retry_first=0.02,
    retry_last=0.1,
    refused=0.1,
    disk_retry=0.05,
)
PATIENT = dataclasses.replace(FAST, silence=20.0, acknowledge=20.0)  # a machine that stalls ends nothing


def learner(store: str, address: str) -> None:
    """Serve until killed; prints the address once it listens."""
    opened = ExperienceStore(Path(store), SPEC)
    server = LinkServer(opened, SPEC, address, timing=FAST)
    server.start()
    print(server.address, flush=True)
    while True:
        time.sleep(0.1)
        server.check()


def robot(name: str, directory: str, address: str) -> None:
    """Record a row each 2 ms until killed; prints "boot recorded" again and again."""
    link = RobotLink(SPEC, name, Path(directory), address, timing=FAST)
    link.start()
    sequence = 0
    while True:
        for _ in range(5):
            link.record(synthetic_row(SPEC, name, link.boot, sequence))
            sequence += 1
            time.sleep(0.002)
        link.check()
        assert "unexpected" not in link.status().bad_messages, link.status().last_error
        print(link.boot, link.status().recorded, flush=True)


if __name__ == "__main__":
    {"learner": learner, "robot": robot}[sys.argv[1]](*sys.argv[2:])
