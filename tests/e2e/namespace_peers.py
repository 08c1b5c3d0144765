"""Robot and learner for the soak over network namespaces: `python namespace_peers.py learner|robot ...`.

They run with the timing and the limits that robots use. Each prints JSON lines.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from pathlib import Path

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.rate import RateLoop
from robot_dreamer.spec import load_spec

SPEC = load_spec("cartpole")
BUNDLE = 300_000  # bytes


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def learner(store: str, address: str, keys: str) -> None:
    """Serve until killed; publish the bundle that each line of stdin names by its version."""
    opened = ExperienceStore(Path(store), SPEC)
    server = LinkServer(opened, SPEC, address, keys=Path(keys))
    server.start()
    threading.Thread(target=_publish, args=(server, Path(store).parent), daemon=True).start()
    while True:
        time.sleep(0.5)
        server.check()
        say(stored=opened.count(), bad=dict(server.bad_messages), refusals=server.refusals)


def bundle(version: int) -> bytes:
    """The bytes of a published bundle."""
    return random.Random(version).randbytes(BUNDLE)


def _publish(server: LinkServer, folder: Path) -> None:
    for line in sys.stdin:
        version = int(line)
        file = folder / f"bundle-{version}.zip"
        file.write_bytes(bundle(version))
        server.publish(file, version, version)


def robot(name: str, directory: str, address: str, keys: str, rate: str) -> None:
    """Record at `rate` Hz until stdin ends, then go on until the spool is empty, and report until killed."""
    link = RobotLink(SPEC, name, Path(directory), address, keys=Path(keys))
    link.start()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    loop = RateLoop(1.0 / float(rate))
    latest, sequence, slowest = "", 0, 0.0
    said = time.monotonic()
    while not ended.is_set():
        loop.wait()
        before = time.monotonic()
        link.record(synthetic_row(SPEC, name, link.boot, sequence))
        slowest = max(slowest, time.monotonic() - before)
        sequence += 1
        taken = link.take_bundle()
        latest = str(taken) if taken else latest
        if time.monotonic() - said > 0.5:
            said = time.monotonic()
            _report(link, sequence, latest, loop, slowest, False)
    while True:
        time.sleep(0.2)
        taken = link.take_bundle()
        latest = str(taken) if taken else latest
        status = link.status()
        done = status.connected and status.acknowledged >= sequence and not status.spooled
        _report(link, sequence, latest, loop, slowest, done)


def _report(link: RobotLink, made: int, latest: str, loop: RateLoop, slowest: float, done: bool) -> None:
    link.check()
    status = link.status()
    say(
        boot=link.boot,
        made=made,
        recorded=status.recorded,
        spooled=status.spooled,
        state=status.state,
        sessions=status.sessions,
        rewinds=status.rewinds,
        dropped=status.dropped,
        fault=status.fault,
        bundle=latest,
        misses=loop.misses,
        slowest_record_us=round(slowest * 1e6),
        round_trip=status.round_trip,
        error=status.last_error,
        done=done,
    )


if __name__ == "__main__":
    {"learner": learner, "robot": robot}[sys.argv[1]](*sys.argv[2:])
