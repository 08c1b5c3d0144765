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
    """rows: saved; blocks: lost ones; lost: rows that these said that they held, as far as it can be known.

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
    db = connect_to_read(store)
    try:
        last, step = 0, 1
        while True:
            try:
                for number, count, blob in db.execute(_READ, (last,)):
                    last, step = number, 1
                    yield count, blob
                return
            except sqlite3.Error:
                yield None, None
                last, step = last + step, 2 * step
                if step > 1 << 40:
                    return
    finally:
        db.close()
