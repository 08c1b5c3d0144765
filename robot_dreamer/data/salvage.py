"""What is whole of a damaged store, in a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.source import copy_marks
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.database import DAMAGE, connect_to_read, stored_spec
from robot_dreamer.link.errors import RowError
from robot_dreamer.link.reader import read_marks
from robot_dreamer.link.store import ExperienceStore

_READ = "SELECT id, count, blob FROM blocks WHERE id > ? ORDER BY id"


class Salvaged(NamedTuple):
    """rows: saved; blocks: lost ones, one for all that no page tells any more; lost: their rows, as far as known.

    marks_lost: which episodes a person has discarded cannot be read.
    """

    rows: int
    blocks: int
    lost: int
    marks_lost: bool


def salvage(store: Path, output: Path) -> Salvaged:
    """Write all sound blocks of a store into a new one, in their order.

    Raises LinkError if not even its spec can be read, DataError if the output is there already.
    """
    if output.exists():
        raise DataError(f"{output} is there already; choose another name")
    spec = stored_spec(store, "store")
    codec, saved, lost, lost_rows = BlockCodec(spec), 0, 0, 0
    new = ExperienceStore(output, spec)
    try:
        for count, blob in _blocks(store):
            try:
                if blob is None:
                    raise RowError("damaged", "the page that held it")
                block = codec.decode(blob)
                saved += new.add(block.records(0, len(block))).stored
            except (RowError, *DAMAGE):
                lost, lost_rows = lost + 1, lost_rows + (count if isinstance(count, int) else 0)
        marks_lost = not _copy_marks(store, new)
    finally:
        new.close()
    return Salvaged(saved, lost, lost_rows, marks_lost)


def _copy_marks(store: Path, new: ExperienceStore) -> bool:
    """False: they cannot be read."""
    try:
        with closing(connect_to_read(store)) as db:
            marks = read_marks(db)
    except DAMAGE:
        return False
    copy_marks(marks, new)
    return True


def _blocks(store: Path) -> Iterator[tuple[int | None, bytes | None]]:
    """(rows, bytes) of each block; bytes None where the file itself is damaged, which is stepped over."""
    with closing(connect_to_read(store)) as db:
        last, start = 0, 0  # a block's id is the number of its last row
        while True:
            try:
                for number, count, blob in db.execute(_READ, (start,)):
                    if start != last:
                        yield number - count - last, None
                    yield count, blob
                    last = start = number
                if start != last:
                    yield None, None
                return
            except sqlite3.Error:
                behind = _behind(db, start)
                if behind is None:
                    yield None, None
                    return
                start = behind


def _behind(db: sqlite3.Connection, bad: int) -> int | None:
    """The next id behind which the file can be read again, `bad` being one behind which it cannot; None: none."""
    step = 1
    while not _readable(db, bad + step):
        bad, step = bad + step, 2 * step
        if step > 1 << 40:
            return None
    good = bad + step
    while good - bad > 1:
        middle = (bad + good) // 2
        bad, good = (bad, middle) if _readable(db, middle) else (middle, good)
    return good


def _readable(db: sqlite3.Connection, start: int) -> bool:
    try:
        db.execute(f"{_READ} LIMIT 1", (start,)).fetchone()
    except sqlite3.Error:
        return False
    return True
