"""Reading a store: beside the learner that writes it, in its process or in another."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple

from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.database import connect_to_read, disk_advice, stored_spec
from robot_dreamer.link.errors import DamagedFile, RowError
from robot_dreamer.record import StepRecord

_READ = "SELECT id, count, blob FROM blocks WHERE id > ? ORDER BY id"
_HAS_MARKS = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'discarded'"  # a store of format 2 has none
_MARKS = "SELECT id, robot, boot, episode FROM discarded WHERE id > ? ORDER BY id"
_NEWEST = "SELECT COALESCE(MAX(id), 0) FROM blocks"
_AT_ONCE = 64 << 20  # bytes of rows that are in memory together: a row with pictures of ten cameras has two million


def rows_at_once(codec: BlockCodec) -> int:
    """So many rows may be in memory together; at least one."""
    return max(1, _AT_ONCE // codec.row_bytes)


class Mark(NamedTuple):
    """An episode that must not be learned from. Numbers rise from 1, in order of arrival."""

    number: int
    robot: str
    boot: str
    episode: int


def read_marks(db: sqlite3.Connection, after: int = 0) -> list[Mark]:
    """Of a store, behind mark number `after`. Raises sqlite3.Error."""
    if not db.execute(_HAS_MARKS).fetchone()[0]:
        return []
    return [Mark(int(n), str(robot), str(boot), int(e)) for n, robot, boot, e in db.execute(_MARKS, (after,))]


class StoreReader:
    """The rows of a store, committed ones only. Thread safe.

    Attributes:
      spec: of the robots whose rows these are.

    Raises:
      LinkError: the file is no store, or one of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.spec = stored_spec(self.path, "store")
        self._codec = BlockCodec(self.spec)
        self._lock = threading.Lock()
        self._db = connect_to_read(self.path)

    def read(self, after: int, limit: int) -> list[tuple[int, StepRecord]]:
        """Up to `limit` rows behind row number `after`, in order of arrival, each with its number: the next `after`.

        Fewer, but at least one, where they are large, see `rows_at_once`.

        Within one (robot, boot) the sequence numbers rise by one. A jump means rows that the robot dropped or that were
        rejected, all counted: the row behind a jump does not follow the one before it. Raises LinkError if the disk
        cannot be read or returns other bytes than were stored. Arrays are read-only.
        """
        rows: list[tuple[int, StepRecord]] = []
        limit = min(limit, rows_at_once(self._codec))
        with self._lock, disk_advice(self.path, "rows cannot be read"):
            for end, count, blob in self._db.execute(_READ, (after,)):
                skip = max(0, after - (end - count))
                stop = min(count, skip + limit - len(rows))
                try:
                    block = self._codec.decode(blob)
                except RowError as error:
                    text = f"{self.path}: rows {end - count + 1} to {end} were damaged on disk ({error})"
                    raise DamagedFile(f"{text}; what is whole is saved by `robot-dreamer data salvage`") from error
                rows += enumerate(block.records(skip, stop), end - count + skip + 1)
                if len(rows) >= limit:
                    break
        return rows

    def marks(self, after: int = 0) -> list[Mark]:
        """Episodes that must not be learned from, behind mark number `after`. Raises LinkError if the disk fails."""
        with self._lock, disk_advice(self.path, "the marks of discarded episodes cannot be read"):
            return read_marks(self._db, after)

    def count(self) -> int:
        """Rows in the store. Raises LinkError if the disk cannot be read."""
        with self._lock, disk_advice(self.path, "rows cannot be counted"):
            return int(self._db.execute(_NEWEST).fetchone()[0])

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._lock:
            self._db.close()
