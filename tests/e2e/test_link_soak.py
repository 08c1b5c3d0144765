"""Long runs with the timing that robots use. By hand: `pytest -m soak tests/e2e`."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from link_faults import Faults, MessageProxy, TcpProxy
from link_peers import SPEC
from test_link_faults import LOCAL, free_address, learner, process, record, robot, sequences

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from tests.waiting import until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


def test_an_outage_of_a_minute(tmp_path: Path) -> None:
    """50 Hz through a connection that goes half-open for 60 s, then is cut. Default timing."""
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    server = LinkServer(store, SPEC, LOCAL)
    server.start()
    proxy = TcpProxy(server.address)
    link = RobotLink(SPEC, "r1", tmp_path / "r1", proxy.address)
    link.start()
    begin = time.monotonic()
    slowest = 0.0
    for i in range(80 * 50):
        time.sleep(max(0.0, begin + i * 0.02 - time.monotonic()))
        row = synthetic_row(SPEC, "r1", link.boot, i)
        before = time.monotonic()
        link.record(row)
        slowest = max(slowest, time.monotonic() - before)
        if i == 5 * 50:
            assert store.count() > 0
            proxy.frozen.set()
        if i == 65 * 50:
            assert not link.status().connected and link.status().spooled > 2500
            proxy.frozen.clear()
            proxy.cut()
    until(lambda: store.count() == 4000)
    assert sequences(store, link.boot) == list(range(4000))
    print(f"slowest record(): {slowest * 1e6:.0f} us; {link.status()}")
    link.stop()
    server.stop()
    proxy.stop()
    store.close()


def test_a_robot_a_learner_and_a_network_that_all_misbehave(tmp_path: Path) -> None:
    """Two minutes: a damaging network, the learner killed 20 times, the robot's process killed 10 times."""
    rng = random.Random(0)
    address = free_address()
    faults = Faults(drop=0.1, duplicate=0.1, truncate=0.02, flip=0.02, delay=0.05, jitter=0.05)
    proxy = MessageProxy(address, faults)
    recorded: dict[str, int] = {}
    for _ in range(10):
        with process("robot", "r1", str(tmp_path / "r1"), proxy.address) as body:
            assert body.stdout is not None
            for _ in range(2):
                with process("learner", str(tmp_path / "store.sqlite"), address) as brain:
                    end = time.monotonic() + 2.0 + rng.random() * 3.0
                    while time.monotonic() < end:
                        boot, count = body.stdout.readline().split()
                        recorded[boot] = int(count)
                    brain.send_signal(signal.SIGKILL)
            body.send_signal(signal.SIGKILL)
    proxy.stop()
    with learner(tmp_path, address) as (store, server), robot(tmp_path, address) as link:
        record(link, 0, 10)
        until(lambda: store.count() and link.status().acknowledged >= 10 and link.status().spooled == 0, seconds=120.0)
        for boot, count in recorded.items():
            stored = sequences(store, boot)
            assert stored == list(range(len(stored))) and len(stored) >= count
        assert len(recorded) == 10 and server.bad_messages.total() == 0
    print(f"{sum(recorded.values())} rows recorded, {dict(proxy.done)}")
