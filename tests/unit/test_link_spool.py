"""The robot's way to the network: queue, spool, shipper. No sockets."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import msgspec
import pytest

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.spool import Spool
from robot_dreamer.link.timing import LinkLimits, Timing
from robot_dreamer.link.writer import SpoolWriter
from robot_dreamer.spec import SpecMismatch
from tests.spools import BYTES, CODEC, SPEC, blocks, open_spool
from tests.waiting import until

FAST = Timing(commit=0.005, disk_retry=0.01)


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
    slower = msgspec.structs.replace(SPEC, rate=1.0)
    Spool(tmp_path / "spool.sqlite", slower, "r", 1, "stop").close()  # nothing waits in it
    spool = open_spool(tmp_path)
    spool.append(blocks("b", range(5)))
    spool.close()
    with pytest.raises(SpecMismatch, match=r"(?s)rate: ours 1.0, theirs 25.0.*start the robot once more"):
        Spool(tmp_path / "spool.sqlite", slower, "r", 1, "stop")


def start_writer(spool: Spool, limits: LinkLimits | None = None) -> SpoolWriter:
    writer = SpoolWriter(spool, CODEC, "r", "b", FAST, limits or LinkLimits())
    writer.worker.start()
    return writer


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


def test_why_a_row_was_refused_is_told_after_good_ones_came_too(tmp_path: Path) -> None:
    """A second later, when somebody reads it, hundreds have."""
    spool = open_spool(tmp_path)
    writer = start_writer(spool)
    good = synthetic_row(SPEC, "r", "b", 0)
    writer.put(dataclasses.replace(good, reward=float("inf")))
    until(lambda: writer.dropped() == {"invalid": 1})
    writer.put(dataclasses.replace(good, sequence=1))
    until(lambda: writer.recorded == 1)
    assert "row 0 refused: reward" in writer.last_error
    writer.stop(20)
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


def test_a_robot_has_no_name_of_a_demonstration(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="'demonstration-' begins the names of demonstrations"):
        RobotLink(SPEC, "demonstration-arm", tmp_path, None)


def test_a_full_disk_is_a_fault_until_it_takes_rows_again(tmp_path: Path) -> None:
    link = RobotLink(SPEC, "r", tmp_path, None, timing=FAST)
    pages = link._spool._db.execute("PRAGMA page_count").fetchone()[0]
    link._spool._db.execute(f"PRAGMA max_page_count={pages}")  # SQLite then says what it says of a full disk
    link.start()
    for i in range(300):
        link.record(synthetic_row(SPEC, "r", link.boot, i))
    until(lambda: link.status().fault)
    assert "the disk refuses rows" in link.status().fault and "database or disk is full" in link.status().fault
    with link._spool._lock:
        link._spool._db.execute("PRAGMA max_page_count=100000")
    until(lambda: link.status().recorded == 300)
    until(lambda: not link.status().fault)
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

    def explode(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(link._spool, "append", explode)
    link.start()
    until(lambda: link.status().fault)
    assert "link writer stopped: ZeroDivisionError: a bug" in link.status().fault
    with pytest.raises(LinkError, match="a bug"):
        link.check()
    monkeypatch.undo()
    with pytest.raises(LinkError, match="a bug"):
        link.stop()


def test_a_link_without_learner_only_records(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    link = RobotLink(SPEC, "r", tmp_path, None, timing=FAST)
    link.start()
    for i in range(20):
        link.record(synthetic_row(SPEC, "r", link.boot, i))
    link.stop()
    status = link.status()
    assert (status.state, status.recorded, status.spooled, status.fault) == ("off", 20, 20, "")
    assert set(threading.enumerate()) <= before


def test_stop_recording_when_full_raises_a_fault(tmp_path: Path) -> None:
    link = RobotLink(SPEC, "r", tmp_path, None, spool_limit=300, when_full="stop", timing=FAST)
    link.start()
    for i in range(20):  # a block each, so that all are of a size
        link.record(synthetic_row(SPEC, "r", link.boot, i))
        until(lambda done=i + 1: link.status().spooled + sum(link.status().dropped.values()) == done)
    status = link.status()
    assert "spool is full" in status.fault and status.dropped == {"spool_full": 20 - status.spooled}
    link._spool.settle(link.boot, 19)  # as if the learner had come and taken all
    until(lambda: not link.status().fault)  # a robot that has stopped records nothing that would show it
    link.record(synthetic_row(SPEC, "r", link.boot, 20))
    until(lambda: link.status().spooled == 1)
    assert not link.status().fault
    link.stop()
