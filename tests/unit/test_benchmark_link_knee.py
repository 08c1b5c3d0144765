"""The robots of the benchmark speak the link's protocol to a real server, and its arithmetic."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from benchmarks.link import LOCAL, spec_named
from benchmarks.link_knee import Point, Senders, draw, knee, line
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LIMITS


def point(robots: int, durable: float) -> Point:
    return Point(robots, 100.0 * robots, durable, 80.0, 0.005, 0.012, 0.01 * robots, 0.02, 5e7)


def test_what_is_settled_is_in_the_store_and_every_chunk_has_its_delay(tmp_path: Path) -> None:
    spec = spec_named("cartpole")
    store = ExperienceStore(tmp_path / "store.sqlite", spec)
    server = LinkServer(store, spec, LOCAL)
    server.start()
    senders = Senders(spec, 200.0, 3, server.address)
    senders.connect()
    deadline = time.monotonic() + 30
    while not senders.settled:
        assert time.monotonic() < deadline
        senders.run(0.2)
    senders.close()
    server.stop()
    assert 0 < senders.settled <= store.count()
    assert sum(robot.chunk for robot in senders.robots) >= len(senders.delays) > 0
    assert all(delay > 0 for _, delay in senders.delays)
    store.close()


def test_a_robot_that_is_one_too_many_is_told(tmp_path: Path) -> None:
    spec = spec_named("cartpole")
    store = ExperienceStore(tmp_path / "store.sqlite", spec)
    server = LinkServer(store, spec, LOCAL, limits=dataclasses.replace(LIMITS, robots=1))
    server.start()
    senders = Senders(spec, 200.0, 2, server.address)
    with pytest.raises(RuntimeError, match="the learner refuses r[01]: the learner serves 1 robots already"):
        senders.connect()
    senders.close()
    server.stop()
    store.close()


def test_the_knee_is_the_last_number_of_robots_whose_rows_are_durable_as_they_come(tmp_path: Path) -> None:
    points = [point(1, 100.0), point(64, 6390.0), point(128, 9000.0)]
    assert knee(points) == 64 and knee(points[2:]) == 0
    assert knee([points[0], dataclasses.replace(points[1], delay_median=0.2)]) == 1
    assert line(points[2]).split()[:4] == ["128", "12800", "9000", "70%"]
    draw({"cartpole": points, "camera": points[:2]}, tmp_path / "knee.png")
    assert (tmp_path / "knee.png").stat().st_size > 10_000
