"""Blocks on their way from spool to store."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.chunks import decompress, unpack
from robot_dreamer.link.messages import Ack
from robot_dreamer.link.shipper import Shipper
from robot_dreamer.link.spool import SpoolBlock
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LinkLimits, Timing
from tests.spools import BYTES, SPEC, blocks, open_spool


@given(st.integers(0, 10**9))
@settings(max_examples=6, deadline=None)
def test_shipper_and_store_agree_over_any_network(tmp_path_factory, seed: int) -> None:
    """A simulated network that drops, repeats and reorders messages both ways, and at times a spool that overflows.

    In the end each row is in the store once, or was counted as dropped by the robot.
    """
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("n")
    spool = open_spool(folder, limit=(rng.choice([30, 10**6])) * BYTES)
    store = ExperienceStore(folder / "store", SPEC)
    limits = LinkLimits(chunk_bytes=4 * BYTES, window=3, window_most=rng.choice([3, 8]))
    shipper = Shipper(spool, Timing(acknowledge=5.0), limits)
    up, down = [], []
    recorded = dropped = 0
    lossy_until = 100.0
    now = 0.0
    while now < lossy_until or not shipper.drained:
        now += 1.0
        assert now < 2000, "never drained"
        lossy = now < lossy_until
        if lossy and rng.random() < 0.5:
            batch = blocks("b", range(recorded, recorded + rng.randrange(6)), rng.randrange(1, 4))
            dropped += spool.append(batch).dropped
            recorded += sum(block.rows for block in batch)
        else:
            spool.append([])
        if rng.random() < 0.02 and lossy:
            shipper.rewind()  # a new session
        shipper.check(now)
        while (chunk := shipper.next_chunk(now)) is not None:
            up.append(chunk)
        for queue in (up, down):
            if lossy and queue:
                if rng.random() < 0.3:
                    del queue[rng.randrange(len(queue))]
                elif rng.random() < 0.3:
                    queue.append(rng.choice(queue))
                elif rng.random() < 0.3:
                    rng.shuffle(queue)
        for _ in range(rng.randrange(4) if lossy else 99):
            if up:
                chunk = up.pop(0)
                packed = unpack(decompress(chunk.encoding, chunk.data, chunk.size), chunk.count)
                with store.transaction():
                    taken = store.add_chunk("r", chunk.boot, chunk.previous, chunk.last, store.examine(packed))
                down.append(Ack(chunk.boot, chunk.chunk, store.settled("r", "b"), taken is None))
            if down:
                shipper.handle(down.pop(0), now)
    numbers = [r.sequence for _, r in store.read(0, 10**6)]
    assert numbers == sorted(set(numbers)) and shipper.bad_acks == 0
    lost = recorded - len(numbers)
    # A row may be dropped on the robot although the learner has just got it, never the other way round.
    assert 0 <= lost <= dropped
    spool.append([])
    assert spool.rows == 0
    spool.close()
    store.close()


def test_an_acknowledgement_of_what_was_never_sent_is_ignored(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append(blocks("b", range(5)))
    shipper = Shipper(spool, Timing(), LinkLimits())
    shipper.handle(Ack("b", 0, 4, False), 0.0)
    spool.append([])
    assert shipper.bad_acks == 1 and spool.rows == 5
    spool.close()


def test_rows_go_out_again_if_no_acknowledgement_comes(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append(blocks("b", range(5)))
    shipper = Shipper(spool, Timing(acknowledge=2.0), LinkLimits())
    first = shipper.next_chunk(0.0)
    assert first is not None and shipper.next_chunk(0.0) is None
    shipper.check(1.9)
    assert shipper.next_chunk(1.9) is None
    shipper.check(2.1)
    again = shipper.next_chunk(2.1)
    assert again is not None and again.data == first.data and shipper.rewinds == 1
    spool.close()


def test_a_slow_network_is_not_filled_with_repetitions(tmp_path: Path) -> None:
    """Ten seconds of rows are in flight at once, acknowledgements are awaited for two."""
    spool = open_spool(tmp_path)
    spool.append(blocks("b", range(600)))
    shipper = Shipper(spool, Timing(acknowledge=2.0), LinkLimits(chunk_bytes=50 * BYTES, window=4))
    wire: list = []  # first in, first out
    busy_until = now = 0.0
    while not shipper.drained:
        now += 0.1
        shipper.check(now)
        while (chunk := shipper.next_chunk(now)) is not None:
            busy_until = max(busy_until, now) + chunk.count / 20  # 20 rows a second
            wire.append((busy_until, chunk))
        while wire and wire[0][0] <= now:
            chunk = wire.pop(0)[1]
            shipper.handle(Ack(chunk.boot, chunk.chunk, chunk.last, False), now)
        assert now < 1000
    assert shipper.sent <= 3 * 600, f"{shipper.sent} rows sent for 600"
    spool.append([])
    assert spool.rows == 0
    spool.close()


def test_a_restarted_robot_whose_rows_are_all_settled_already_goes_on(tmp_path: Path) -> None:
    """The learner's mark is then far ahead of what the window lets the robot send again."""
    store = ExperienceStore(tmp_path / "store", SPEC)
    store.add([synthetic_row(SPEC, "r", "b", i) for i in range(40)])
    spool = open_spool(tmp_path)
    spool.append(blocks("b", range(40)))  # kill -9 came before the acknowledgements
    shipper = Shipper(spool, Timing(), LinkLimits(chunk_bytes=4 * BYTES, window=2, window_most=2))
    for now in range(100):
        while (chunk := shipper.next_chunk(float(now))) is not None:
            shipper.handle(Ack(chunk.boot, chunk.chunk, store.settled("r", "b"), False), float(now))
        spool.append([])
    assert spool.rows == 0 and shipper.drained and shipper.bad_acks == 0 and shipper.rewinds == 0
    spool.close()
    store.close()


def test_what_comes_while_it_looks_is_sent_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = open_spool(tmp_path)
    shipper = Shipper(spool, Timing(), LinkLimits())
    spool.append(blocks("b", range(3)))
    spool.settle("b", 2)  # so there is nothing to read, though the newest was not sent since the last doubt
    read = spool.read

    def slowly(*arguments: int) -> list[SpoolBlock]:
        found = read(*arguments)
        monkeypatch.undo()
        spool.append(blocks("b", range(3, 5)))
        return found

    monkeypatch.setattr(spool, "read", slowly)
    assert shipper.next_chunk(0.0) is None
    chunk = shipper.next_chunk(0.0)
    assert chunk is not None and (chunk.last, chunk.count) == (4, 2)
    spool.close()
