"""The promises of docs/link.md: pull any plug, and unique rows in are unique rows out."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from link_faults import Faults, MessageProxy, TcpProxy
from link_peers import FAST, PATIENT, SPEC

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import Timing
from tests.waiting import until

PEERS = Path(__file__).with_name("link_peers.py")
LOCAL = "tcp://127.0.0.1:*"


@contextmanager
def learner(folder: Path, address: str = LOCAL, timing: Timing = FAST) -> Iterator[tuple[ExperienceStore, LinkServer]]:
    store = ExperienceStore(folder / "store.sqlite", SPEC)
    server = LinkServer(store, SPEC, address, timing=timing)
    server.start()
    try:
        yield store, server
    finally:
        server.stop()
        store.close()


@contextmanager
def robot(folder: Path, address: str | None, name: str = "r1", timing: Timing = FAST, **options) -> Iterator[RobotLink]:
    link = RobotLink(SPEC, name, folder / name, address, timing=timing, **options)
    link.start()
    try:
        yield link
    finally:
        link.stop()


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    child = subprocess.Popen(
        [sys.executable, str(PEERS), *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait(10)
        assert child.stdout is not None
        child.stdout.close()


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def record(link: RobotLink, start: int, count: int, pause: float = 0.0) -> None:
    for sequence in range(start, start + count):
        link.record(synthetic_row(SPEC, link.robot, link.boot, sequence))
        if pause:
            time.sleep(pause)


def sequences(store: ExperienceStore, boot: str) -> list[int]:
    return [row.sequence for _, row in store.read(0, 10**7) if row.boot == boot]


def test_rows_arrive_during_the_episode_in_order(tmp_path: Path) -> None:
    with (
        learner(tmp_path, timing=PATIENT) as (store, server),
        robot(tmp_path, server.address, timing=PATIENT) as link,
    ):
        record(link, 0, 30)  # an episode has 101 rows: this one has not ended
        until(lambda: store.count() == 30)
        assert sequences(store, link.boot) == list(range(30))
        until(lambda: link.status().acknowledged == 30 and link.status().spooled == 0)
        link.report({"bundle_version": 3, "episode_return": 1.5})
        status = until(lambda: [s for s in server.status() if s.figures])[0]
        assert (status.robot, status.connected, status.received, status.duplicates) == ("r1", True, 30, 0)
        assert status.bundle_version == 3 and status.figures["episode_return"] == 1.5
        assert status.round_trip is not None and json.loads(msgspec.json.encode(server.status()))[0]["received"] == 30


@pytest.mark.parametrize(
    "faults",
    [
        Faults(drop=0.2),
        Faults(duplicate=0.5),
        Faults(truncate=0.2),
        Faults(flip=0.2),
        Faults(delay=0.05, jitter=0.05),
        Faults(drop=0.1, duplicate=0.1, truncate=0.05, flip=0.05, delay=0.02, jitter=0.02),
    ],
    ids=["drop", "duplicate", "truncate", "flip", "reorder", "all"],
)
def test_a_bad_network_loses_and_repeats_nothing(tmp_path: Path, faults: Faults) -> None:
    with learner(tmp_path) as (store, server):
        proxy = MessageProxy(server.address, faults)
        bundle = tmp_path / "bundle.zip"
        bundle.write_bytes(random.Random(0).randbytes(400_000))
        server.publish(bundle, 1, 10)
        try:
            with robot(tmp_path, proxy.address) as link:
                record(link, 0, 500, pause=0.002)
                until(lambda: store.count() == 500)
                assert sequences(store, link.boot) == list(range(500))
                fetched = until(link.take_bundle)
                assert fetched.read_bytes() == bundle.read_bytes()
                until(lambda: link.status().spooled == 0)
                assert link.status().dropped == {} and link.status().fault == ""
                assert "store_failed" not in server.bad_messages and server.status()[0].missing == 0
            if not faults.delay:
                assert proxy.done.total() > 10, "the proxy did nothing"
        finally:
            proxy.stop()


def test_kill_minus_nine_of_the_learner_again_and_again(tmp_path: Path) -> None:
    address = free_address()
    rng = random.Random(1)
    with robot(tmp_path, address) as link:
        sent = 0
        for _ in range(4):
            with process("learner", str(tmp_path / "store.sqlite"), address) as child:
                assert child.stdout is not None and child.stdout.readline().strip() == address
                acknowledged = link.status().acknowledged
                record(link, sent, 100, pause=0.001)
                sent += 100
                until(lambda before=acknowledged: link.status().acknowledged > before)
                time.sleep(rng.random() * 0.05)
                child.send_signal(signal.SIGKILL)
            record(link, sent, 50)
            sent += 50
        with learner(tmp_path, address) as (store, server):
            until(lambda: store.count() == sent)
            assert sequences(store, link.boot) == list(range(sent))
            until(lambda: link.status().spooled == 0)
            assert server.status()[0].missing == 0


def test_kill_minus_nine_of_the_robot_again_and_again(tmp_path: Path) -> None:
    recorded: dict[str, int] = {}
    with learner(tmp_path) as (store, server):
        for lines in (3, 10, 25):
            with process("robot", "r1", str(tmp_path / "r1"), server.address) as child:
                assert child.stdout is not None
                for _ in range(lines):
                    boot, count = child.stdout.readline().split()
                    recorded[boot] = int(count)
                child.send_signal(signal.SIGKILL)
        with robot(tmp_path, server.address) as link:  # brings what the killed ones left in the spool
            until(lambda: link.status().connected and link.status().spooled == 0)
        assert len(recorded) == 3
        for boot, count in recorded.items():
            stored = sequences(store, boot)
            assert stored == list(range(len(stored))) and len(stored) >= count


def test_kill_minus_nine_of_both_at_once(tmp_path: Path) -> None:
    address = free_address()
    recorded: dict[str, int] = {}
    for _ in range(2):
        with (
            process("learner", str(tmp_path / "store.sqlite"), address) as brain,
            process("robot", "r1", str(tmp_path / "r1"), address) as body,
        ):
            assert body.stdout is not None
            for _ in range(15):
                boot, count = body.stdout.readline().split()
                recorded[boot] = int(count)
            brain.send_signal(signal.SIGKILL)
            body.send_signal(signal.SIGKILL)
    with learner(tmp_path, address) as (store, _), robot(tmp_path, address) as link:
        until(lambda: link.status().connected and link.status().spooled == 0)
        for boot, count in recorded.items():
            stored = sequences(store, boot)
            assert stored == list(range(len(stored))) and len(stored) >= count


def test_no_learner_at_first_then_one(tmp_path: Path) -> None:
    address = free_address()
    with robot(tmp_path, address) as link:
        record(link, 0, 300)
        until(lambda: link.status().spooled == 300)
        assert link.status().state == "connecting"
        with learner(tmp_path, address) as (store, _):
            until(lambda: store.count() == 300)


def test_cut_and_half_open_connections(tmp_path: Path) -> None:
    with learner(tmp_path) as (store, server):
        proxy = TcpProxy(server.address)
        try:
            with robot(tmp_path, proxy.address) as link:
                record(link, 0, 100)
                until(lambda: store.count() == 100)
                proxy.cut()
                record(link, 100, 100)
                until(lambda: store.count() == 200)
                until(lambda: link.status().connected)
                sessions = link.status().sessions
                proxy.frozen.set()
                record(link, 200, 100)
                until(lambda: not link.status().connected)  # noticed by silence, not by an error of the socket
                until(lambda: not server.status()[0].connected)
                proxy.frozen.clear()
                proxy.cut()
                until(lambda: store.count() == 300)
                assert link.status().sessions > sessions
                assert sequences(store, link.boot) == list(range(300))
        finally:
            proxy.stop()


def test_the_spool_overflows_with_a_counter_at_both_ends(tmp_path: Path) -> None:
    address = free_address()
    with robot(tmp_path, address, spool_limit=5000) as link:
        for batch in range(20):
            record(link, batch * 10, 10)
            settled = (batch + 1) * 10
            until(lambda count=settled: link.status().spooled + sum(link.status().dropped.values()) == count)
        dropped = link.status().dropped["spool_dropped_oldest"]
        assert 100 < dropped < 200
        with learner(tmp_path, address) as (store, server):
            until(lambda: link.status().connected and link.status().spooled == 0)
            stored = sequences(store, link.boot)
            assert stored == list(range(dropped, 200))
            status = until(lambda: [s for s in server.status() if s.dropped])[0]
            assert status.missing == dropped and status.dropped == {"spool_dropped_oldest": dropped}


def test_stop_sends_what_it_can_and_keeps_the_rest(tmp_path: Path) -> None:
    with learner(tmp_path) as (store, server):
        with robot(tmp_path, server.address) as link:
            until(lambda: link.status().connected)
            record(link, 0, 400)
        assert store.count() == 400 and link.status().spooled == 0
        until(lambda: not server.status()[0].connected)  # it said goodbye


def test_sixteen_robots(tmp_path: Path) -> None:
    with learner(tmp_path) as (store, server):
        links = [RobotLink(SPEC, f"r{i}", tmp_path / f"r{i}", server.address, timing=FAST) for i in range(16)]
        for link in links:
            link.start()
        for link in links:
            record(link, 0, 50)
        until(lambda: store.count() == 800)
        for link in links:
            assert sequences(store, link.boot) == list(range(50))
            link.stop()
        assert [s.received for s in server.status()] == [50] * 16
