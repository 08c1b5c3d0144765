"""Rows with pictures: what is read and written together is bounded in bytes, not in rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.synthetic import synthetic_row
from robot_dreamer.data.source import rows_of, store_rows
from robot_dreamer.data.survey import Survey
from robot_dreamer.link import reader
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.spec import load_spec

SPEC = load_spec("cartpole_camera")
BYTES = BlockCodec(SPEC).row_bytes
ROWS = [synthetic_row(SPEC, "r", "b", i) for i in range(200)]


def test_rows_that_are_added_together_lie_in_blocks_of_a_megabyte(tmp_path: Path) -> None:
    """A thousand rows of an import were one block; of five cameras of 256 x 256 it was larger than SQLite takes."""
    store = ExperienceStore(tmp_path / "store.sqlite", SPEC)
    assert store.add(ROWS).stored == 200 and 200 * BYTES > 2 << 20
    assert [row.sequence for _, row in store.read(0, 999)] == list(range(200))
    store.close()
    with closing(sqlite3.connect(store.path)) as db:
        largest = db.execute("SELECT MAX(LENGTH(blob)) FROM blocks").fetchone()[0]
    assert BYTES < largest <= 1 << 20


def test_few_large_rows_are_in_memory_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_AT_ONCE", 10 * BYTES)
    store, together = ExperienceStore(tmp_path / "store.sqlite", SPEC), []
    add = store.add
    monkeypatch.setattr(store, "add", lambda rows: together.append(len(rows)) or add(rows))
    assert store_rows(iter(ROWS), store, Survey(SPEC)).stored == 200
    assert together == 20 * [10] and len(store.read(0, 999)) == 10
    assert [row.sequence for row in rows_of(store)] == list(range(200)), (
        "those who read all do not take few for the end"
    )
    store.close()
