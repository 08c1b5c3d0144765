"""benchmarks/link_flood.py: every side makes all rows durable."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.link import disk_speed, spec_named
from benchmarks.link_flood import batches, chunks_of, measure, stored
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LIMITS


def test_a_chunk_is_as_large_as_a_robot_makes_it_and_the_store_takes_all(tmp_path: Path) -> None:
    spec = spec_named("camera")
    flights = [chunks_of(spec, name, 1 << 20) for name in ("r0", "r1")]
    assert all(0.9 * LIMITS.chunk_bytes < len(c.block.blob) <= LIMITS.chunk_bytes for c in flights[0])
    assert sum(map(len, batches(flights))) == sum(map(len, flights))
    stored(flights, tmp_path, spec)
    store = ExperienceStore(tmp_path / "store.sqlite", spec)
    assert store.count() == sum(c.block.rows for chunks in flights for c in chunks)
    assert store.settled("r1", "b") == flights[1][-1].last
    store.close()


@pytest.mark.parametrize("size", [1000, 4096, 10_000])
def test_the_disk_is_given_every_byte_that_its_speed_counts(tmp_path: Path, size: int) -> None:
    assert disk_speed(str(tmp_path), size, piece=4096) > 0
    assert (tmp_path / "disk").stat().st_size == size


@pytest.mark.parametrize("side", ["disk", "SQLite", "store", "link"])
def test_each_side_is_measured(side: str) -> None:
    flights = [chunks_of(spec_named("cartpole"), name, 1 << 19) for name in ("r0", "r1")]
    assert measure("cartpole", flights, side) > 0  # the link's checks that the store holds every row
