"""The learner's store: unique, durable, ordered, tied to its spec."""

from __future__ import annotations

import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.synthetic import synthetic_row
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.chunks import Packed
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.reader import StoreReader
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.spec import SpecMismatch, load_spec

SPEC = load_spec("cartpole")


def row(sequence: int, robot: str = "r", boot: str = "b"):
    return synthetic_row(SPEC, robot, boot, sequence)


def packed(*rows) -> Packed:
    return Packed(len(rows), BlockCodec(SPEC).encode(rows))


@pytest.fixture
def store(tmp_path: Path):
    opened = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    yield opened
    opened.close()


def test_rows_come_back_in_order_of_arrival_with_a_cursor(store: ExperienceStore) -> None:
    store.add([row(0, "a"), row(1, "a")])
    store.add([row(0, "b")])
    store.add([row(2, "a")])
    everything = store.read(0, 100)
    assert [(r.robot, r.sequence) for _, r in everything] == [("a", 0), ("a", 1), ("b", 0), ("a", 2)]
    first = store.read(0, 3)
    assert [(i, r.sequence) for i, r in store.read(first[-1][0], 100)] == [(everything[3][0], 2)]
    np.testing.assert_array_equal(everything[3][1].observation["pole_angle"], row(2).observation["pole_angle"])
    assert store.count() == 4


def test_a_row_is_stored_once_however_often_it_comes(store: ExperienceStore) -> None:
    assert store.add([row(0), row(1), row(1)]).duplicates == 1
    result = store.add([row(0), row(1), row(2)])
    assert (result.stored, result.duplicates, store.count()) == (1, 2, 3)


def test_marks_survive_reopening(tmp_path: Path) -> None:
    store = ExperienceStore(tmp_path / "s", SPEC)
    store.add([row(0), row(1)])
    identity = store.id
    store.close()
    again = ExperienceStore(tmp_path / "s", SPEC)
    assert again.id == identity and again.settled("r", "b") == 1 and again.settled("r", "other") == -1
    assert again.add([row(1), row(2)]).duplicates == 1
    assert again.count() == 3
    again.close()


def test_bad_rows_are_counted_by_kind_and_do_not_stop_the_others(store: ExperienceStore) -> None:
    nan = dataclasses.replace(row(2), reward=float("nan"))
    result = store.add([row(0), nan, row(3)])
    assert result.stored == 2 and result.rejected == {"invalid": 1} and result.missing == 2
    codec = BlockCodec(SPEC)
    with_nan = codec.encode([row(4), row(5), row(6)])
    codec.decode(with_nan).scalars["reward"][1] = np.nan
    with_nan[:4] = zlib.crc32(with_nan[4:]).to_bytes(4, "little")
    broken = codec.encode([row(7), row(8)])
    broken[-1] ^= 1
    with store.transaction():
        blocks = [Packed(3, with_nan), Packed(2, broken), Packed(1, b""), Packed(3, codec.encode([row(9)]))]
        result = store.add_chunk("r", "b", 3, 10, store.examine([*blocks, packed(row(10))]))
    assert result is not None and result.stored == 3
    assert result.rejected == {"invalid": 1, "checksum": 2, "truncated": 1, "size": 3}
    assert [r.sequence for _, r in store.read(0, 9)] == [0, 3, 4, 6, 10] and store.settled("r", "b") == 10


def test_of_a_block_that_is_partly_here_the_rest_is_stored(store: ExperienceStore) -> None:
    store.add([row(0), row(1), row(3)])
    with store.transaction():
        result = store.add_chunk("r", "b", -1, 5, store.examine([packed(row(1), row(2), row(3), row(4), row(5))]))
    assert result is not None and (result.stored, result.duplicates, result.rejected) == (2, 2, {"late": 1})
    assert [(i, r.sequence) for i, r in store.read(0, 99)] == [(1, 0), (2, 1), (3, 3), (4, 4), (5, 5)]
    np.testing.assert_array_equal(store.read(4, 1)[0][1].observation["pole_angle"], row(5).observation["pole_angle"])


def test_a_cursor_may_stand_inside_a_block(store: ExperienceStore) -> None:
    store.add([row(i) for i in range(10)])
    store.add([row(i) for i in range(10, 13)])
    for after in range(14):
        for limit in (1, 2, 5, 20):
            found = store.read(after, limit)
            assert [(i, r.sequence) for i, r in found] == [(n + 1, n) for n in range(after, min(13, after + limit))]


def test_a_row_behind_its_successor_is_late_not_silently_dropped(store: ExperienceStore) -> None:
    store.add([row(0), row(5)])
    result = store.add([row(3)])
    assert result.rejected == {"late": 1} and store.count() == 2


def test_a_chunk_behind_a_lost_one_is_not_taken(store: ExperienceStore) -> None:
    with store.transaction():
        assert store.add_chunk("r", "b", 9, 10, store.examine([packed(row(10))])) is None
        assert store.settled("r", "b") == -1
        assert store.add_chunk("r", "b", -1, 9, store.examine([packed(row(9))])) is not None
        result = store.add_chunk("r", "b", 9, 10, store.examine([packed(row(10))]))
    assert result is not None and result.stored == 1 and store.settled("r", "b") == 10


def test_a_chunk_may_not_speak_for_another_robot(store: ExperienceStore) -> None:
    with store.transaction():
        result = store.add_chunk("thief", "b", -1, 0, store.examine([packed(row(0))]))
    assert result is not None and result.rejected == {"identity": 1} and store.count() == 0


def test_a_failed_transaction_leaves_nothing(store: ExperienceStore) -> None:
    with pytest.raises(sqlite3.Error), store.transaction():
        store.add_chunk("r", "b", -1, 0, store.examine([packed(row(0))]))
        raise sqlite3.OperationalError("disk full")
    assert store.count() == 0 and store.settled("r", "b") == -1
    assert store.add([row(0)]).stored == 1


def test_what_the_disk_refuses_is_told_with_advice(store: ExperienceStore) -> None:
    store.add([row(0)])
    store._db.execute("PRAGMA query_only=1")  # SQLite then refuses to write
    with pytest.raises(LinkError, match=r"store.sqlite: rows cannot be stored: .*; check the disk"):
        store.add([row(1)])
    with pytest.raises(LinkError, match="version of a bundle cannot be remembered"):
        store.set_published(1, "0" * 64)
    store._db.execute("PRAGMA query_only=0")
    assert store.add([row(1)]).stored == 1 and store.count() == 2


def test_rows_of_an_open_transaction_are_not_read(store: ExperienceStore) -> None:
    with store.transaction():
        store.add_chunk("r", "b", -1, 0, store.examine([packed(row(0))]))
        seen: list[int] = []
        reader = threading.Thread(target=lambda: seen.append(store.count()))
        reader.start()
        reader.join(10)
        assert seen == [0]
    assert store.count() == 1


def test_another_spec_is_refused_with_both_sides_once_something_is_of_the_first(tmp_path: Path) -> None:
    """A wrong file at the first start, or at a first import that took nothing, costs no folder."""
    other = msgspec.structs.replace(SPEC, rate=50.0)
    for name in ("rows", "bundle"):
        ExperienceStore(tmp_path / name, other).close()
        opened = ExperienceStore(tmp_path / name, SPEC)
        assert StoreReader(tmp_path / name).spec == SPEC
        opened.add([row(0)]) if name == "rows" else opened.set_published(1, "0" * 64)
        opened.close()
        with pytest.raises(SpecMismatch, match=r"rate: ours 50.0, theirs 25.0") as refused:
            ExperienceStore(tmp_path / name, other)
        helps = f"choose another log directory than {tmp_path}, which is of robot 'cartpole' and spec {SPEC.hash[:12]}"
        assert str(refused.value).splitlines()[-1] == helps


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    store = ExperienceStore(tmp_path / "s", SPEC)
    with pytest.raises(LinkError, match=f"in use by process {os.getpid()}"):
        ExperienceStore(tmp_path / "s", SPEC)
    store.close()
    ExperienceStore(tmp_path / "s", SPEC).close()


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"this is not SQLite" * 100)
    with pytest.raises(LinkError, match="cannot be opened as an experience store: file is not a database"):
        ExperienceStore(tmp_path / "s", SPEC)


def test_commits_are_synced_to_the_disk(store: ExperienceStore) -> None:
    """What survives a pulled plug needs a plug to pull; that SQLite is told to wait for the disk can be tested."""
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_damage_on_disk_is_noticed(tmp_path: Path) -> None:
    store = ExperienceStore(tmp_path / "s", SPEC)
    store.add([row(0)])
    store.close()
    with sqlite3.connect(tmp_path / "s") as db:
        blob = bytearray(db.execute("SELECT blob FROM blocks").fetchone()[0])
        blob[-3] ^= 4
        db.execute("UPDATE blocks SET blob = ?", (bytes(blob),))
    again = ExperienceStore(tmp_path / "s", SPEC)
    with pytest.raises(LinkError, match="rows 1 to 1 were damaged on disk"):
        again.read(0, 10)
    again.close()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30), st.integers(1, 8)), max_size=30))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_chunks_gives_unique_contiguous_rows(tmp_path_factory, chunks) -> None:
    """Chunks that overlap, repeat and come too early, as a bad network makes them."""
    store = ExperienceStore(tmp_path_factory.mktemp("s") / "s", SPEC)
    for boot, start, length in chunks:
        rows = [row(i, boot=boot) for i in range(start, start + length)]
        cut = length // 3
        parts = [packed(*part) for part in (rows[:cut], rows[cut:]) if part]
        with store.transaction():
            store.add_chunk("r", boot, start - 1, start + length - 1, store.examine(parts))
    for boot in "ab":
        numbers = [r.sequence for _, r in store.read(0, 10**6) if r.boot == boot]
        assert numbers == list(range(len(numbers)))
        assert store.settled("r", boot) == len(numbers) - 1
    store.close()


WRITER = """
import sys
from pathlib import Path
from robot_dreamer.link.store import ExperienceStore
from benchmarks.synthetic import synthetic_row
from robot_dreamer.spec import load_spec
spec = load_spec("cartpole")
store = ExperienceStore(Path(sys.argv[1]), spec)
sequence = store.settled("r", "b") + 1
while True:
    store.add([synthetic_row(spec, "r", "b", sequence + i) for i in range(7)])
    sequence += 7
    print(sequence, flush=True)
"""


def test_kill_minus_nine_never_takes_back_what_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "s"
    promised = 0
    for kill_after in (1, 5, 12):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(kill_after):
                promised = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:  # written before the signal arrived
                promised = int(line) if line.endswith("\n") else promised
        store = ExperienceStore(path, SPEC)
        numbers = [r.sequence for _, r in store.read(0, 10**6)]
        assert numbers == list(range(len(numbers))) and len(numbers) >= promised
        store.close()
