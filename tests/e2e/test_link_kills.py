"""Random schedules of kill -9: robot, policy node, uplink, learner and store, one or two at once, at any moment.

Nothing that was on the robot's disk is lost, nothing is stored twice, by identity of rows; what a learner has counted
by its checkpoints is each row once; bundles that arrive are whole. By hand, in half an hour to an hour on two cores (a
schedule that fails is named by its seed, and its files are kept):

    pytest -m soak -s tests/e2e/test_link_kills.py
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("torch")

from link_peers import FAST
from test_link_faults import free_address

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.bundle import read_bundle
from tests.unit.dying import KILLED
from tests.waiting import until

NODE_EVERY = 20  # of so many schedules one kills the real policy node, which takes seconds to start


@pytest.fixture(scope="module")
def nursery() -> Iterator[Any]:
    """Makes processes by forking one that has imported kill_peers."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *(p for p in sys.path if p)])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kill_peers"])
    yield context
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


class Peer:
    """A process of kill_peers.

    Attributes:
      said: what it told, in order; whole after `kill`.
    """

    def __init__(self, nursery: Any, kind: str, *arguments: Any) -> None:
        self.said: list[tuple[Any, int]] = []
        self._words, words = nursery.Pipe(duplex=False)
        self._process = nursery.Process(target=_be, args=(kind, words, *arguments), daemon=True)
        self._process.start()
        words.close()

    def listen(self) -> None:
        """Take what it has said; it waits when nobody does."""
        try:
            while self._words.poll():
                self.said.append(self._words.recv())
        except (EOFError, OSError):
            return  # it is dead

    @property
    def alive(self) -> bool:
        return bool(self._process.is_alive())

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.listen()
        self._words.close()
        assert self._process.exitcode in (-9, KILLED), f"it ended by itself with status {self._process.exitcode}"


def _be(kind: str, *arguments: Any) -> None:
    import kill_peers

    getattr(kill_peers, kind)(*arguments)


@dataclass
class Witness:
    """What the processes of one schedule have said before they died."""

    recorded: dict[str, int] = field(default_factory=dict)  # boot -> rows on the robot's disk
    version: int = -1
    kills: Counter[str] = field(default_factory=Counter)

    def note(self, who: str, peer: Peer, how: str) -> None:
        peer.kill()
        self.kills[f"{who} {how}"] += 1
        for first, second in peer.said:
            if who == "learner":
                self.version = max(self.version, second)
            else:
                self.recorded[first] = second


def play(nursery: Any, seed: int, folder: Path, kind: str) -> Witness:
    """One schedule: three to five times somebody dies, or two at once; in half of the cases at a step of its work."""
    rng = random.Random(seed)
    address, spec = free_address(), "toy" if kind == "node" else "cartpole"
    witness = Witness()
    peers: dict[str, Peer] = {}
    slow = 8.0 if kind == "node" else 1.0
    for _ in range(rng.randint(3, 5)):
        doomed = rng.choice([["robot"], ["learner"], ["robot", "learner"]])
        inside = rng.random() < 0.5
        for who in ("learner", "robot"):
            if who not in peers:
                point = rng.randrange(120) if inside and who in doomed else None
                peers[who] = Peer(nursery, kind if who == "robot" else who, folder, address, spec, point)
        for _ in range(int(rng.uniform(10, 120) * slow)):
            for peer in peers.values():
                peer.listen()
            if not all(peer.alive for peer in peers.values()):
                break
            time.sleep(0.005)
        for who in doomed + [w for w, peer in peers.items() if w not in doomed and not peer.alive]:
            peer = peers.pop(who)
            together = "with the other" if len(doomed) > 1 else "alone"
            witness.note(who, peer, together if peer.alive else "at a step")
    for who, peer in peers.items():
        witness.note(who, peer, "last")
    judge(folder, address, spec, witness)
    return witness


def judge(folder: Path, address: str, spec_name: str, witness: Witness) -> None:
    """Let all that is left be sent, then compare."""
    from kill_peers import SPECS, counted, totals

    spec = SPECS[spec_name]
    store = ExperienceStore(folder / "store.sqlite", spec)
    server = LinkServer(store, spec, address, timing=FAST)
    server.start()
    directory = folder / ("node" if spec_name == "toy" else "r1")
    directory.mkdir(parents=True, exist_ok=True)
    link = RobotLink(spec, "r1", directory, address, timing=FAST)
    link.start()
    try:
        until(lambda: link.status().connected and link.status().spooled == 0, "the spool to drain")
        status, rows = link.status(), store.read(0, 10**7)
        assert status.dropped == {} and status.fault == "" and "bundle_corrupt" not in status.problems, status
        assert server.status()[0].missing == 0 and not server.bad_messages, server.bad_messages
        for boot, count in witness.recorded.items():
            stored = [row.sequence for _, row in rows if row.boot == boot]
            assert stored == list(range(len(stored))), f"boot {boot}: {stored[:20]}..."
            assert len(stored) >= count, f"boot {boot}: {count} rows were on the robot's disk, {len(stored)} arrived"
        if spec_name == "cartpole":
            for _, row in rows:
                assert row.reward == synthetic_row(spec, "r1", row.boot, row.sequence).reward, (row.boot, row.sequence)
        cursor, seen = counted(folder / "checkpoints")
        assert seen == totals(row for number, row in rows if number <= cursor), "counted by the checkpoints"
        assert store.published()[0] >= witness.version
        bundle = link.take_bundle()
        if bundle is not None:
            assert read_bundle(bundle, spec).manifest.version == status.bundle_version
    finally:
        link.stop()
        server.stop()
        store.close()


def schedules(nursery: Any, folder: Path, seeds: range) -> None:
    kills: Counter[str] = Counter()
    rows = 0
    for seed in seeds:
        place = folder / str(seed)
        place.mkdir()
        kind = "node" if seed % NODE_EVERY == NODE_EVERY - 1 else "robot"
        try:
            witness = play(nursery, seed, place, kind)
        except BaseException as error:
            raise AssertionError(f"seed {seed} ({kind}): {error}; its files are kept: {place}") from error
        kills += witness.kills
        rows += sum(witness.recorded.values())
        shutil.rmtree(place)
    print(
        f"\nseeds {seeds.start} to {seeds.stop - 1}: {kills.total()} kills, {rows} rows; {dict(sorted(kills.items()))}"
    )


def test_a_few_schedules(nursery: Any, tmp_path: Path) -> None:
    schedules(nursery, tmp_path, range(1))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("hundred", range(10))
def test_a_hundred_schedules(nursery: Any, tmp_path: Path, hundred: int) -> None:
    schedules(nursery, tmp_path, range(100 * hundred, 100 * (hundred + 1)))
