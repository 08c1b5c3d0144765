"""The learner's store: the one durable truth about experience, from which a replay is rebuilt.

Identity of a row is (robot, boot, sequence). The store keeps a high-water mark per (robot, boot) and changes it in the
same transaction as the rows, so after a crash at any moment mark and rows agree, and a row that is sent again is known.
Rows are kept as the robot encoded them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from robot_dreamer.link.database import Database, connect
from robot_dreamer.link.errors import LinkError, RowError
from robot_dreamer.link.rows import RowCodec
from robot_dreamer.record import RecordError, StepRecord
from robot_dreamer.spec import RobotSpec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS boots (id INTEGER PRIMARY KEY, robot TEXT NOT NULL, boot TEXT NOT NULL,
                                  mark INTEGER NOT NULL, missing INTEGER NOT NULL, UNIQUE (robot, boot));
CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY AUTOINCREMENT, boot INTEGER NOT NULL, sequence INTEGER NOT NULL,
                                 blob BLOB NOT NULL, UNIQUE (boot, sequence));
"""
_BOOTS = "SELECT id, robot, boot, mark, missing FROM boots"
_NEW_BOOT = "INSERT INTO boots (robot, boot, mark, missing) VALUES (?, ?, -1, 0)"
_SET_MARK = "UPDATE boots SET mark = ?, missing = ? WHERE id = ?"
_READ = "SELECT id, blob FROM rows WHERE id > ? ORDER BY id LIMIT ?"


@dataclass
class AddResult:
    """What became of the rows given to `add`.

    Attributes:
      stored: new and durable.
      duplicates: already in the store; discarded.
      rejected: not stored, by kind; see RowError kinds, "late" for a row that comes after a later one of its boot.
      missing: sequence numbers that were skipped: rows that the robot dropped (and counts) or that were rejected here.
    """

    stored: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    missing: int = 0

    def merge(self, other: AddResult) -> None:
        """Add another result to this one."""
        self.stored += other.stored
        self.duplicates += other.duplicates
        self.rejected.update(other.rejected)
        self.missing += other.missing


class _Mark(NamedTuple):
    """State of one (robot, boot): database id, highest settled sequence number, numbers skipped so far."""

    id: int
    sequence: int
    missing: int


class ExperienceStore:
    """SQLite; one process writes. Thread safe: `add` by one thread and `read` by another do not wait for each other.

    Args:
      path: the database file.
      spec: refuses a store of another spec (SpecMismatch shows both sides).
    """

    def __init__(self, path: Path, spec: RobotSpec) -> None:
        self.path, self.spec = Path(path), spec
        self._codec = RowCodec(spec)
        self._write_lock, self._read_lock = threading.RLock(), threading.Lock()
        self._database = Database(self.path, "store", _SCHEMA, spec, self._codec.arrays_size)
        self._db = self._database.connection
        self._reader = connect(self.path, self._codec.arrays_size)  # its own connection sees committed rows only
        self.id = self._database.meta("id") or ""
        self._marks = {
            (robot, boot): _Mark(number, sequence, missing)
            for number, robot, boot, sequence, missing in self._db.execute(_BOOTS)
        }
        self._changed: dict[tuple[str, str], _Mark] = {}  # by the open transaction

    def add(self, rows: Sequence[StepRecord | bytes]) -> AddResult:
        """Store rows, in order per (robot, boot). What it counts as stored is durable when it returns.

        Args:
          rows: records, or rows as RowCodec.encode gives them.

        Raises:
          sqlite3.Error: the disk refuses; then nothing of it is stored.
        """
        result = AddResult()
        with self.transaction():
            for row in rows:
                self._add_one(row, result)
        return result

    def add_chunk(self, robot: str, boot: str, previous: int, last: int, blobs: Sequence[bytes]) -> AddResult | None:
        """Like `add` for a chunk of one boot (see messages.Rows), inside `transaction`.

        None: row `previous` is not settled, so an earlier chunk was lost on the way; taking this one would hide it.
        Otherwise the chunk is settled, whatever its rows are worth: bad ones are counted, not asked for again.
        """
        if previous > self.settled(robot, boot):
            return None
        result = AddResult()
        for blob in blobs:
            self._add_one(blob, result, (robot, boot, last))
        mark = self._mark(robot, boot)
        if last > mark.sequence:
            self._changed[robot, boot] = mark._replace(sequence=last)
        return result

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything added inside becomes durable together at the end, or not at all."""
        with self._write_lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                for mark in self._changed.values():
                    self._db.execute(_SET_MARK, (mark.sequence, mark.missing, mark.id))
                self._db.execute("COMMIT")
                self._marks.update(self._changed)
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._changed = {}

    def settled(self, robot: str, boot: str) -> int:
        """Highest sequence number of a boot that need not be sent again; -1 for none."""
        mark = self._changed.get((robot, boot)) or self._marks.get((robot, boot))
        return -1 if mark is None else mark.sequence

    def read(self, after: int, limit: int) -> list[tuple[int, StepRecord]]:
        """Up to `limit` rows with id > after, in order of arrival, each with its id: the next `after`.

        Within one (robot, boot) the sequence numbers rise by one. A jump means rows that the robot dropped or that were
        rejected, all counted: the row behind a jump does not follow the one before it. Raises LinkError if the disk
        returns other bytes than were stored. Arrays are read-only.
        """
        with self._read_lock:
            found = self._reader.execute(_READ, (after, limit)).fetchall()
        rows = []
        for number, blob in found:
            try:
                rows.append((number, self._codec.decode(blob)))
            except RowError as error:
                text = f"{self.path}: row {number} was damaged on disk ({error}); restore the file from a copy"
                raise LinkError(text) from error
        return rows

    def count(self) -> int:
        """Rows in the store."""
        with self._read_lock:
            return int(self._reader.execute("SELECT COUNT(*) FROM rows").fetchone()[0])

    def published(self) -> tuple[int, str]:
        """Version and sha256 of the newest bundle ever published from this store; (-1, "") for none."""
        with self._write_lock:
            version, _, sha256 = (self._database.meta("published") or "-1 ").partition(" ")
            return int(version), sha256

    def set_published(self, version: int, sha256: str) -> None:
        """Remember the newest bundle, so that a restarted learner cannot reuse its version."""
        with self._write_lock:
            self._database.set_meta("published", f"{version} {sha256}")

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._database.close()

    def _mark(self, robot: str, boot: str) -> _Mark:
        mark = self._changed.get((robot, boot)) or self._marks.get((robot, boot))
        if mark is None:
            cursor = self._db.execute(_NEW_BOOT, (robot, boot))
            mark = self._changed[robot, boot] = _Mark(cursor.lastrowid or 0, -1, 0)
        return mark

    def _add_one(self, row: StepRecord | bytes, result: AddResult, chunk: tuple[str, str, int] | None = None) -> None:
        try:
            if isinstance(row, bytes):
                blob, record = row, self._codec.decode(row)
            else:
                blob, record = self._codec.encode(row), row
            if chunk and ((record.robot, record.boot) != chunk[:2] or record.sequence > chunk[2]):
                raise RowError("identity", f"row {record.sequence} of ({record.robot}, {record.boot}) in chunk {chunk}")
        except RecordError:
            result.rejected["invalid"] += 1
            return
        except RowError as error:
            result.rejected[error.kind] += 1
            return
        mark = self._mark(record.robot, record.boot)
        if record.sequence <= mark.sequence:
            known = "SELECT 1 FROM rows WHERE boot = ? AND sequence = ?"
            if self._db.execute(known, (mark.id, record.sequence)).fetchone():
                result.duplicates += 1
            else:
                result.rejected["late"] += 1
            return
        self._db.execute("INSERT INTO rows (boot, sequence, blob) VALUES (?, ?, ?)", (mark.id, record.sequence, blob))
        skipped = record.sequence - mark.sequence - 1
        self._changed[record.robot, record.boot] = _Mark(mark.id, record.sequence, mark.missing + skipped)
        result.stored += 1
        result.missing += skipped
