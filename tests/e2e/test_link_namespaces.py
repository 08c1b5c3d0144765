"""Hours of bad radio in minutes: robot and learner in two network namespaces with a bad wire between, CURVE on.

By hand: `pytest -m soak -s tests/e2e/test_link_namespaces.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from namespace_peers import SPEC, bundle
from namespaces import LEARNER_IP, Weather, two_spaces, why_not

from robot_dreamer.link import keys
from robot_dreamer.link.store import ExperienceStore
from tests.waiting import until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]

PEERS = Path(__file__).with_name("namespace_peers.py")
RATE = 50  # Hz
WEATHERS = {
    "delay 300 ms +- 200 ms, 5 % duplicated": Weather(delay=0.3, jitter=0.2, duplicate=0.05),
    "20 % lost": Weather(loss=0.2),
    "delay, 20 % lost, 5 % duplicated": Weather(delay=0.3, jitter=0.2, loss=0.2, duplicate=0.05),
    "256 kbit/s": Weather(rate=256e3, delay=0.05),
    "down for 60 s": Weather(down=True),
}


class Peer:
    """A process in a namespace; `last` is the newest line that it printed."""

    def __init__(self, space: str, *arguments: str) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = ["ip", "netns", "exec", space, sys.executable, str(PEERS), *arguments]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment, **pipes)
        self.last: dict[str, Any] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def tell(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        """kill -9; `ip netns exec` has become the program."""
        self.process.kill()
        self.process.wait(10)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.last = json.loads(line)


@contextmanager
def peers() -> Iterator[Callable[..., Peer]]:
    """Starts peers; kills them at the end."""
    started: list[Peer] = []

    def start(space: str, *arguments: str) -> Peer:
        started.append(Peer(space, *arguments))
        return started[-1]

    try:
        yield start
    finally:
        for peer in started:
            peer.kill()


def _holds(path: str, version: int) -> bool:
    """A whole bundle is there, and it is this one."""
    return bool(path) and Path(path).read_bytes() == bundle(version)


@pytest.mark.parametrize("name", WEATHERS)
def test_every_row_arrives_once_through_bad_weather_and_crashes(tmp_path: Path, name: str) -> None:
    """60 s of weather, then kill -9 of the learner and 15 s more, then kill -9 of the robot's process and 15 s more."""
    if reason := why_not():  # asked here, not whenever tests are collected: it makes a network namespace
        pytest.skip(reason)
    (handout,) = keys.create(tmp_path / "keys", ["r1"])
    address = f"tcp://{LEARNER_IP}:5757"
    brain = ["learner", str(tmp_path / "store.sqlite"), address, str(tmp_path / "keys")]
    body = ["robot", "r1", str(tmp_path / "r1"), address, str(handout), str(RATE)]
    with two_spaces() as (robot_space, learner_space, wire), peers() as start:
        learner, robot = start(learner_space, *brain), start(robot_space, *body)
        until(lambda: robot.last.get("state") == "connected" and learner.last.get("stored"), "first row", every=0.2)
        wire.set(WEATHERS[name])
        learner.tell("1")
        begin = learner.last["stored"]
        time.sleep(60)
        print(f"\n{wire.name}, {name}: {dict(wire.done)}")
        print(f"  after 60 s: {learner.last['stored'] - begin} of {60 * RATE} rows stored; robot {robot.last}")
        learner.kill()
        learner = start(learner_space, *brain)
        time.sleep(15)
        killed = robot.last
        robot.kill()
        robot = start(robot_space, *body)
        time.sleep(15)
        wire.set(Weather())
        until(lambda: learner.last.get("stored"), "learner", every=0.2)
        learner.tell("2")
        robot.end()
        until(
            lambda: robot.last.get("done") and _holds(robot.last["bundle"], 2),
            "empty spool and newest bundle",
            120.0,
            every=0.2,
        )
        last = robot.last
        print(f"  at the end: {learner.last}; robot {last}")
        assert last["dropped"] == killed["dropped"] == {} and last["fault"] == killed["fault"] == ""
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    rows = [(row.boot, row.sequence) for _, row in store.read(0, 10**7)]
    store.close()
    assert len(set(rows)) == len(rows), "a row is stored twice"
    assert {boot for boot, _ in rows} == {killed["boot"], last["boot"]}
    before = [sequence for boot, sequence in rows if boot == killed["boot"]]
    assert before == list(range(len(before))) and len(before) >= killed["recorded"]
    assert [sequence for boot, sequence in rows if boot == last["boot"]] == list(range(last["made"]))
    print(f"  unique rows in: {killed['recorded']} (killed) + {last['made']}; out: {len(before)} + {last['made']}")
