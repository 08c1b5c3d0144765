"""Stores and spools whose bytes are others than were written: named, never a raw error; what is whole is saved."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
import time
from pathlib import Path

import pytest

from benchmarks.synthetic import synthetic_row
from robot_dreamer.cli import main
from robot_dreamer.data.salvage import salvage
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.reader import StoreReader
from robot_dreamer.link.robot import RobotLink
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.shipper import Shipper
from robot_dreamer.link.spool import Spool
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.link.timing import LinkLimits, Timing
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import SpecMismatch, load_spec
from tests.spools import blocks, open_spool

SPEC = load_spec("cartpole")
ROWS = [synthetic_row(SPEC, "r", "b", i) for i in range(60)]


def store(path: Path) -> bytes:
    """A store of six blocks of ten rows, as one file."""
    made = ExperienceStore(path, SPEC)
    for start in range(0, 60, 10):
        made.add(ROWS[start : start + 10])
    made.close()
    return path.read_bytes()


def spool(folder: Path) -> bytes:
    folder.mkdir(exist_ok=True)
    made = open_spool(folder)
    made.append(blocks("b", range(30)))
    made.close()
    return (folder / "spool.sqlite").read_bytes()


def mutated(content: bytes, chance: random.Random) -> bytes:
    broken = bytearray(content)
    for _ in range(chance.randint(1, 20)):
        at = chance.randrange(len(broken))
        if chance.random() < 0.5:
            broken[at] = chance.randrange(256)
        else:
            broken[at : at + 16] = chance.randbytes(16)
    return bytes(broken[: chance.randrange(len(broken))]) if chance.random() < 0.2 else bytes(broken)


def read_all(path: Path) -> list[StepRecord]:
    reader = StoreReader(path)
    try:
        return [row for _, row in reader.read(0, 10**6)]
    finally:
        reader.close()


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.soak)])
def test_whatever_the_bytes_a_link_error_names_the_file(count: int, tmp_path: Path) -> None:
    whole = {"store": store(tmp_path / "whole.sqlite"), "spool": spool(tmp_path / "spool")}
    for seed in range(count):
        chance = random.Random(seed)
        kind = chance.choice(["store", "spool"])
        path = tmp_path / str(seed) / "spool.sqlite"
        path.parent.mkdir()
        path.write_bytes(mutated(whole[kind], chance))
        try:
            if kind == "store":
                opened = ExperienceStore(path, SPEC)
                try:
                    opened.read(0, 100)
                    opened.count()
                finally:
                    opened.close()
                assert [r.reward for r in read_all(path)] == [r.reward for r in ROWS][: len(read_all(path))]
            else:
                opened_spool = open_spool(path.parent)
                try:
                    opened_spool.read(0, 1 << 20, 100)
                finally:
                    opened_spool.close()
        except (LinkError, SpecMismatch) as error:
            assert str(path) in str(error), (seed, error)
        except BaseException as error:
            raise AssertionError(f"seed {seed}, {kind}: {type(error).__name__}: {error}") from error


def test_one_changed_byte_loses_one_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "store.sqlite")
    db = sqlite3.connect(tmp_path / "store.sqlite")
    (blob,) = db.execute("SELECT blob FROM blocks WHERE id = 30").fetchone()
    db.execute("UPDATE blocks SET blob = ? WHERE id = 30", (blob[:200] + bytes([blob[200] ^ 1]) + blob[201:],))
    db.commit()
    db.close()
    with pytest.raises(LinkError, match="rows 21 to 30 were damaged.*robot-dreamer data salvage"):
        read_all(tmp_path / "store.sqlite")
    output = tmp_path / "new.sqlite"
    assert main(["data", "salvage", str(tmp_path / "store.sqlite"), "--output", str(output)]) == 1
    assert "50 rows saved, 1 damaged blocks lost (rows that they named: 10)" in capsys.readouterr().out
    assert [row.sequence for row in read_all(output)] == [*range(20), *range(30, 60)]
    assert main(["data", "salvage", str(tmp_path / "store.sqlite"), "--output", str(output)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_damaged_page_is_stepped_over(tmp_path: Path) -> None:
    whole = [synthetic_row(SPEC, "r", "b", i) for i in range(3000)]
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    for i in range(0, len(whole), 10):
        store.add(whole[i : i + 10])
    store.close()
    db = sqlite3.connect(tmp_path / "store.sqlite")
    (blob,) = db.execute("SELECT blob FROM blocks WHERE id = 1500").fetchone()
    db.close()
    content, page = bytearray((tmp_path / "store.sqlite").read_bytes()), 4096
    at = content.index(blob[:100]) // page * page  # the page that holds this block and some of its neighbours
    content[at : at + page] = bytes(page)
    (tmp_path / "bad.sqlite").write_bytes(bytes(content))
    readable = [i for i in range(10, 3001, 10) if is_readable(tmp_path / "bad.sqlite", i)]
    found = salvage(tmp_path / "bad.sqlite", tmp_path / "new.sqlite")
    rows = read_all(tmp_path / "new.sqlite")
    expected = {row.sequence: row.reward for i in readable for row in whole[i - 10 : i]}
    assert {row.sequence: row.reward for row in rows} == expected and 1499 not in expected
    assert (found.rows, found.blocks, found.lost) == (len(rows), 1, 3000 - len(rows))
    assert 2500 < len(rows) < 3000


def is_readable(path: Path, block: int) -> bool:
    db = sqlite3.connect(path)
    try:
        return db.execute("SELECT blob FROM blocks WHERE id > ? ORDER BY id", (block - 1,)).fetchone() is not None
    except sqlite3.Error:
        return False
    finally:
        db.close()


def test_a_robot_moves_a_damaged_spool_aside_and_records_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool(tmp_path)
    content = bytearray((tmp_path / "spool.sqlite").read_bytes())
    content[100:4000] = bytes(3900)
    (tmp_path / "spool.sqlite").write_bytes(bytes(content))
    link = RobotLink(SPEC, "r", tmp_path, None)
    try:
        link.start()
        link.record(synthetic_row(SPEC, "r", link.boot, 0))
    finally:
        link.stop()
    (aside,) = (path for path in tmp_path.glob("spool.sqlite.damaged-*") if not path.name.endswith(("-wal", "-shm")))
    assert aside.read_bytes() == bytes(content) and "a new one begins" in caplog.text
    assert open_spool(tmp_path).rows == 1


@pytest.mark.parametrize("found_by", ["read", "append"])
def test_a_page_of_a_spool_that_is_found_damaged_costs_its_file_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, found_by: str
) -> None:
    """The start has not looked at it: what is counted there stands in an index."""
    made, path = open_spool(tmp_path), tmp_path / "spool.sqlite"
    made.append(blocks("b", range(40)), [("b", 7)])
    (page,) = made._db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'blocks'").fetchone()
    made.close()
    made = open_spool(tmp_path)
    assert made.rows == 40
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))
    shipper = Shipper(made, Timing(), LinkLimits())
    if found_by == "read":
        assert shipper.next_chunk(0.0) is None and shipper.drained
    made.append(blocks("b", range(40, 43)))
    assert (made.lost, made.rows) == (40, 3) and "spool.sqlite.damaged-1 now, and a new one begins" in caplog.text
    chunk = shipper.next_chunk(1.0)
    assert chunk is not None and (chunk.last, chunk.count) == (42, 3)
    made.close()
    again = open_spool(tmp_path)
    assert (again.rows, again.discards) == (3, (("b", 7),))
    again.close()


def test_a_spool_that_cannot_be_read_for_a_while_costs_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, trouble = Spool.read, iter([True] * 3)

    def read_at_last(spool: Spool, *arguments: int) -> object:
        if next(trouble, False):
            raise LinkError("rows cannot be read: disk I/O error")
        return read(spool, *arguments)

    monkeypatch.setattr(Spool, "read", read_at_last)
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    server = LinkServer(store, SPEC, "tcp://127.0.0.1:*")
    server.start()
    link = RobotLink(SPEC, "r", tmp_path / "robot", server.address)
    link.start()
    for i in range(40):
        link.record(dataclasses.replace(synthetic_row(SPEC, "r", link.boot, i), robot="r", boot=link.boot))
    deadline = time.monotonic() + 60
    while store.count() < 40:
        assert time.monotonic() < deadline and not link.status().fault
        time.sleep(0.02)
    link.stop(10.0)
    server.stop()
    store.close()
