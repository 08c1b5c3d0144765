"""The robot's way to the network: queue, spool, shipper. No sockets."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.chunks import decompress, unpack
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.messages import Ack
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.shipper import Shipper
from robot_dreamer.link.spool import NewBlock, Spool
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LinkLimits, Timing
from robot_dreamer.link.writer import SpoolWriter
from robot_dreamer.spec import SpecMismatch, load_spec

SPEC = load_spec("cartpole")
CODEC = BlockCodec(SPEC)
FAST = Timing(commit=0.005, disk_retry=0.01)


def blocks(boot: str, numbers, size: int = 1) -> list[NewBlock]:
    """Rows in blocks of `size`."""
    rows = [synthetic_row(SPEC, "r", boot, i) for i in numbers]
    parts = [rows[i : i + size] for i in range(0, len(rows), size)]
    return [NewBlock(boot, part[-1].sequence, len(part), CODEC.encode(part)) for part in parts]


BYTES = len(blocks("b", [0])[0].blob)  # a block of one row


def open_spool(path: Path, limit: int = 1 << 30, when_full="drop_oldest") -> Spool:
    return Spool(path / "spool.sqlite", SPEC, "r", limit, when_full)


def test_rows_wait_on_disk_over_restarts_until_settled(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append(blocks("old", range(5)))
    spool.close()
    spool = open_spool(tmp_path)
    spool.append(blocks("new", range(3)))
    assert spool.rows == 8
    first = spool.read(0, 1 << 20, 100)
    assert [(r.boot, r.last) for r in first] == [("old", i) for i in range(5)]  # a chunk never mixes boots
    spool.settle("old", 3)
    assert [(r.boot, r.last) for r in spool.read(0, 1 << 20, 100)] == [("old", 4)]
    spool.append([])
    assert spool.rows == 4
    spool.close()
    spool = open_spool(tmp_path)
    assert spool.rows == 4 and [r.last for r in spool.read(0, 1, 9)] == [4]
    spool.close()


def test_a_full_spool_drops_the_oldest_and_counts(tmp_path: Path) -> None:
    size = 10 * BYTES
    spool = open_spool(tmp_path, limit=size)
    assert spool.append(blocks("b", range(8))).dropped == 0
    result = spool.append(blocks("b", range(8, 13)))
    assert (result.kept, result.refused, result.dropped) == (5, 0, 3)
    assert [r.last for r in spool.read(0, 1 << 20, 99)] == list(range(3, 13))
    assert spool.bytes == size
    spool.close()


def test_a_full_spool_refuses_new_rows_if_told_so(tmp_path: Path) -> None:
    size = 10 * BYTES
    spool = open_spool(tmp_path, limit=size, when_full="stop")
    spool.append(blocks("b", range(8)))
    result = spool.append(blocks("b", range(8, 13)))
    assert (result.kept, result.refused, result.dropped) == (2, 3, 0)
    spool.settle("b", 4)
    assert spool.append(blocks("b", range(13, 15))).kept == 2
    spool.close()


def test_a_spool_belongs_to_one_robot_spec_and_process(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    with pytest.raises(LinkError, match="in use by process"):
        open_spool(tmp_path)
    spool.close()
    with pytest.raises(LinkError, match="holds rows of robot 'r', this robot is 'other'"):
        Spool(tmp_path / "spool.sqlite", SPEC, "other", 1, "stop")
    with pytest.raises(SpecMismatch, match="rate"):
        Spool(tmp_path / "spool.sqlite", msgspec.structs.replace(SPEC, rate=1.0), "r", 1, "stop")


def start_writer(spool: Spool, limits: LinkLimits | None = None) -> SpoolWriter:
    writer = SpoolWriter(spool, CODEC, "r", "b", FAST, limits or LinkLimits())
    writer.worker.start()
    return writer


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_the_writer_counts_what_does_not_fit(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    writer = start_writer(spool)
    good = synthetic_row(SPEC, "r", "b", 0)
    writer.put(good)
    writer.put(dataclasses.replace(good, sequence=1, reward=float("inf")))
    writer.put(dataclasses.replace(good, sequence=2, boot="other"))
    writer.put(dataclasses.replace(good, sequence=3))
    writer.put(good)  # sequence does not rise; the last one, so that no whole batch comes after it
    writer.stop(20)
    assert writer.dropped() == {"invalid": 3} and writer.recorded == 2 and spool.rows == 2
    assert "rise" in writer.last_error
    spool.close()


def test_recording_never_waits_for_a_disk_that_stands_still(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    writer = start_writer(spool, LinkLimits(queue_rows=50))
    with spool._lock:  # the disk stands still
        for i in range(200):
            writer.put(synthetic_row(SPEC, "r", "b", i))
        # Had `put` waited for the spool, this line would not be reached: its lock is held here.
        lost = writer.dropped()["queue_full"]
        assert 100 <= lost <= 150  # 50 queued, up to 50 in the writer's hands
    writer.stop(20)
    assert writer.recorded == 200 - lost
    spool.close()


def test_a_full_disk_is_a_fault_until_it_takes_rows_again(tmp_path: Path) -> None:
    link = RobotLink(SPEC, "r", tmp_path, None, timing=FAST)
    pages = link._spool._db.execute("PRAGMA page_count").fetchone()[0]
    link._spool._db.execute(f"PRAGMA max_page_count={pages}")  # SQLite then says what it says of a full disk
    link.start()
    for i in range(300):
        link.record(synthetic_row(SPEC, "r", link.boot, i))
    wait_for(lambda: link.status().fault)
    assert "the disk refuses rows" in link.status().fault and "database or disk is full" in link.status().fault
    with link._spool._lock:
        link._spool._db.execute("PRAGMA max_page_count=100000")
    wait_for(lambda: link.status().recorded == 300)
    wait_for(lambda: not link.status().fault)
    assert link.status().dropped == {} and link.status().last_error == ""
    link.stop()


def test_a_disk_that_fails_at_stop_is_told_and_the_directory_is_free(tmp_path: Path) -> None:
    link = RobotLink(SPEC, "r", tmp_path, None, timing=FAST)
    link.start()
    link._spool.append(blocks(link.boot, range(3)))
    with link._spool._lock:
        link._spool._db.execute("PRAGMA query_only=1")
    link._spool.settle(link.boot, 2)  # not before: the writer would have deleted them
    with pytest.raises(LinkError, match="sent again, which is harmless; check the robot's disk"):
        link.stop()
    again = RobotLink(SPEC, "r", tmp_path, None, timing=FAST)
    assert again.status().spooled == 3
    again.stop()


def test_a_commit_costs_a_handful_of_statements_whatever_the_number_of_its_rows(tmp_path: Path) -> None:
    """Each gives the interpreter lock away; beside a busy thread each then waits for its turn to go on."""
    spool = open_spool(tmp_path)
    statements: list[str] = []
    spool._db.set_trace_callback(statements.append)
    writer = SpoolWriter(spool, CODEC, "r", "b", FAST, LinkLimits())
    for i in range(1000):
        writer.put(synthetic_row(SPEC, "r", "b", i))
    assert writer._flush() and writer.recorded == 1000
    assert len(statements) <= 6, statements
    spool.close()


def test_a_dying_thread_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    link = RobotLink(SPEC, "r", tmp_path, None, timing=FAST)

    def explode(batch):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(link._spool, "append", explode)
    link.start()
    wait_for(lambda: link.status().fault)
    assert "link writer stopped: ZeroDivisionError: a bug" in link.status().fault
    with pytest.raises(LinkError, match="a bug"):
        link.check()
    monkeypatch.undo()
    with pytest.raises(LinkError, match="a bug"):
        link.stop()


def test_a_link_without_learner_only_records(tmp_path: Path) -> None:
    link = RobotLink(SPEC, "r", tmp_path, None, timing=FAST)
    link.start()
    for i in range(20):
        link.record(synthetic_row(SPEC, "r", link.boot, i))
    link.stop()
    status = link.status()
    assert (status.state, status.recorded, status.spooled, status.fault) == ("off", 20, 20, "")
    assert threading.active_count() < 20


def test_stop_recording_when_full_raises_a_fault(tmp_path: Path) -> None:
    link = RobotLink(SPEC, "r", tmp_path, None, spool_limit=300, when_full="stop", timing=FAST)
    link.start()
    for i in range(20):  # a block each, so that all are of a size
        link.record(synthetic_row(SPEC, "r", link.boot, i))
        wait_for(lambda done=i + 1: link.status().spooled + sum(link.status().dropped.values()) == done)
    status = link.status()
    assert "spool is full" in status.fault and status.dropped == {"spool_full": 20 - status.spooled}
    link._spool.settle(link.boot, 19)  # as if the learner had come and taken all
    link.record(synthetic_row(SPEC, "r", link.boot, 20))
    wait_for(lambda: not link.status().fault)
    assert link.status().spooled == 1
    link.stop()


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
                    taken = store.add_chunk("r", chunk.boot, chunk.previous, chunk.last, packed)
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
