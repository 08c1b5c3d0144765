"""The learner's store: the one durable truth about experience, from which a replay is rebuilt.

Identity of a row is (robot, boot, sequence). The store keeps a high-water mark per (robot, boot) and changes it in the
same transaction as the rows, so after a crash at any moment mark and rows agree, and a row that is sent again is known.
Rows are kept in the blocks in which the robot encoded them. They are numbered from 1 in order of arrival, without gaps;
a block's id is the number of its last row.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.link.blocks import Block, BlockCodec, Buffer
from robot_dreamer.link.chunks import Packed
from robot_dreamer.link.database import Database, disk_advice, looked_into
from robot_dreamer.link.draw_section import cut
from robot_dreamer.link.errors import RowError
from robot_dreamer.link.reader import Mark, StoreReader
from robot_dreamer.record import RecordError, StepRecord
from robot_dreamer.spec import RobotSpec

_SCHEMA = """
CREATE TABLE IF NOT EXISTS boots (id INTEGER PRIMARY KEY, robot TEXT NOT NULL, boot TEXT NOT NULL,
                                  mark INTEGER NOT NULL, missing INTEGER NOT NULL, UNIQUE (robot, boot));
CREATE TABLE IF NOT EXISTS blocks (id INTEGER PRIMARY KEY, boot INTEGER NOT NULL, first INTEGER NOT NULL,
                                   last INTEGER NOT NULL, count INTEGER NOT NULL, blob BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS blocks_by_boot ON blocks (boot, last);
CREATE TABLE IF NOT EXISTS discarded (id INTEGER PRIMARY KEY, robot TEXT NOT NULL, boot TEXT NOT NULL,
                                      episode INTEGER NOT NULL, UNIQUE (robot, boot, episode));
"""
_BOOTS = "SELECT id, robot, boot, mark, missing FROM boots"
_NEW_BOOT = "INSERT INTO boots (robot, boot, mark, missing) VALUES (?, ?, -1, 0)"
_SET_MARK = "UPDATE boots SET mark = ?, missing = ? WHERE id = ?"
_INSERT = "INSERT INTO blocks (id, boot, first, last, count, blob) VALUES (?, ?, ?, ?, ?, ?)"
_KNOWN = "SELECT first, last, count, blob FROM blocks WHERE boot = ? AND last >= ? ORDER BY last"
_DISCARD = "INSERT OR IGNORE INTO discarded (robot, boot, episode) VALUES (?, ?, ?)"
_NEWEST = "SELECT COALESCE(MAX(id), 0) FROM blocks"
_BLOCK = 1 << 20  # bytes of rows that `add` encodes together; who reads one of them reads them all


@dataclass
class AddResult:
    """What became of the rows given to `add`.

    Attributes:
      stored: new and durable.
      duplicates: already in the store; discarded.
      rejected: not stored, by kind; see RowError kinds, "late" for a row that comes after a later one of its boot.
      missing: sequence numbers that were skipped: rows that the robot dropped (and counts) or that were rejected here.
      discarded: episodes that a person has newly said not to learn from; `add` finds none.
    """

    stored: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    discarded: int = 0

    def merge(self, other: AddResult) -> None:
        """Add another result to this one."""
        self.stored += other.stored
        self.duplicates += other.duplicates
        self.rejected.update(other.rejected)
        self.missing += other.missing
        self.discarded += other.discarded


class Examined(NamedTuple):
    """A block of a chunk, looked at.

    Attributes:
      rows: that its chunk claims.
      found: what it is, or why it is none.
      unfit: rows of it that cannot be stored, see BlockCodec.unfit.
    """

    rows: int
    blob: Buffer
    found: Block | RowError
    unfit: dict[str, NDArray[np.bool_]]


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
        self._write_lock = threading.RLock()
        self._database = Database(self.path, "store", _SCHEMA, spec, BlockCodec(spec).row_bytes)
        self._codec = BlockCodec(spec, self._database.spec)
        self._db = self._database.connection
        self._reader = StoreReader(self.path)  # with a connection of its own
        self.id = self._database.meta("id") or ""
        try:
            with looked_into(self.path, "store"):
                self._marks = {
                    (robot, boot): _Mark(int(number), int(sequence), int(missing))
                    for number, robot, boot, sequence, missing in self._db.execute(_BOOTS)
                }
                self._newest = int(self._db.execute(_NEWEST).fetchone()[0])  # of an open transaction too
                self.published()
        except BaseException:
            self.close()
            raise
        self._changed: dict[tuple[str, str], _Mark] = {}  # by the open transaction

    def add(self, rows: Sequence[StepRecord]) -> AddResult:
        """Store rows, in order per (robot, boot). What it counts as stored is durable when it returns.

        Raises:
          LinkError: the disk refuses; then nothing of it is stored.
        """
        result = AddResult()
        with disk_advice(self.path, "rows cannot be stored"), self.transaction():
            for run in _runs(rows, self._codec.rows_in(_BLOCK)):
                try:
                    blocks = [self._codec.encode(run)]
                except RecordError:
                    blocks = [blob for row in run if (blob := self._encode_one(row, result)) is not None]
                for blob in blocks:
                    self._add_block(self._codec.decode(blob), blob, {}, result)  # what is encoded is fit
        return result

    def examine(self, blocks: Sequence[Packed]) -> list[Examined]:
        """Decode and check blocks, as far as it does not matter what is here already. Waits for no lock and no disk."""
        examined = []
        for count, blob in blocks:
            try:
                block = self._codec.decode(blob)
                if len(block) != count:
                    raise RowError("size", f"block of {len(block)} rows, its chunk claims {count}")
                examined.append(Examined(count, blob, block, self._codec.unfit(block)))
            except RowError as error:
                examined.append(Examined(count, blob, error, {}))
        return examined

    def add_chunk(
        self, robot: str, boot: str, previous: int, last: int, blocks: Sequence[Examined]
    ) -> AddResult | None:
        """Like `add` for a chunk of one boot (see messages.Rows), inside `transaction`.

        None: row `previous` is not settled, so an earlier chunk was lost on the way; taking this one would hide it.
        Otherwise the chunk is settled, whatever its rows are worth: bad ones are counted, not asked for again.
        """
        if previous > self.settled(robot, boot):
            return None
        result = AddResult()
        for count, blob, found, unfit in blocks:
            if isinstance(found, RowError):
                result.rejected[found.kind] += count
            elif (found.robot, found.boot) != (robot, boot) or found.sequence[-1] > last:
                result.rejected["identity"] += count  # rows of somebody else
            else:
                self._add_block(found, blob, unfit, result)
        mark = self._mark(robot, boot)
        if last > mark.sequence:
            self._changed[robot, boot] = mark._replace(sequence=last)
        return result

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything added inside becomes durable together at the end, or not at all. Raises sqlite3.Error."""
        with self._write_lock:
            newest = self._newest
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
                self._newest = newest
                raise
            finally:
                self._changed = {}

    def discard(self, robot: str, boot: str, episode: int) -> bool:
        """An episode must not be learned from, whether its rows have come or not; inside `transaction`.

        Returns whether it is new.
        """
        return self._db.execute(_DISCARD, (robot, boot, episode)).rowcount > 0

    def settled(self, robot: str, boot: str) -> int:
        """Highest sequence number of a boot that need not be sent again; -1 for none."""
        mark = self._changed.get((robot, boot)) or self._marks.get((robot, boot))
        return -1 if mark is None else mark.sequence

    def boots(self, robot: str) -> list[str]:
        """Of a robot, those that rows have come of."""
        with self._write_lock:
            return [boot for known, boot in self._marks if known == robot]

    def read(self, after: int, limit: int) -> list[tuple[int, StepRecord]]:
        """See StoreReader.read."""
        return self._reader.read(after, limit)

    def marks(self, after: int = 0) -> list[Mark]:
        """See StoreReader.marks."""
        return self._reader.marks(after)

    def count(self) -> int:
        """Rows in the store."""
        return self._reader.count()

    def published(self) -> tuple[int, str]:
        """Version and sha256 of the newest bundle ever published from this store; (-1, "") for none."""
        with self._write_lock:
            version, _, sha256 = (self._database.meta("published") or "-1 ").partition(" ")
            return int(version), sha256

    def set_published(self, version: int, sha256: str) -> None:
        """Remember the newest bundle, so that a restarted learner cannot reuse its version. Raises LinkError."""
        with self._write_lock, disk_advice(self.path, "the version of a bundle cannot be remembered"):
            self._database.set_meta("published", f"{version} {sha256}")

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._reader.close()
        with self._write_lock:
            self._database.close()

    def _mark(self, robot: str, boot: str) -> _Mark:
        mark = self._changed.get((robot, boot)) or self._marks.get((robot, boot))
        if mark is None:
            cursor = self._db.execute(_NEW_BOOT, (robot, boot))
            mark = self._changed[robot, boot] = _Mark(cursor.lastrowid or 0, -1, 0)
        return mark

    def _encode_one(self, row: StepRecord, result: AddResult) -> bytearray | None:
        try:
            return self._codec.encode([row])
        except RecordError as error:
            result.rejected[error.kind] += 1
            return None

    def _add_block(self, block: Block, blob: Buffer, unfit: dict[str, NDArray[np.bool_]], result: AddResult) -> None:
        """Store what is new and fit of a block; the block as it came if that is all of it."""
        mark = self._mark(block.robot, block.boot)
        if unfit or block.sequence[0] <= mark.sequence:  # which rises from row to row
            fresh = self._fresh(block, unfit, mark, result)
            if not fresh.any():
                return
            block = block.pick(fresh)
            blob = self._codec.pack(block)
            self._codec.decode(blob)  # what cannot be read again is not stored: it would bar the way to all behind it
        count, first, last = len(block), int(block.sequence[0]), int(block.sequence[-1])
        newest = self._newest + count
        self._db.execute(_INSERT, (newest, mark.id, first, last, count, blob))
        self._newest = newest
        skipped = last - mark.sequence - count
        self._changed[block.robot, block.boot] = _Mark(mark.id, last, mark.missing + skipped)
        result.stored += count
        result.missing += skipped

    def _fresh(
        self, block: Block, unfit: dict[str, NDArray[np.bool_]], mark: _Mark, result: AddResult
    ) -> NDArray[np.bool_]:
        """(N,) the rows that are fit and new; the others are counted."""
        good = np.ones(len(block), bool)
        for kind, bad in unfit.items():
            good &= ~bad
            result.rejected[kind] += int(bad.sum())
        old = good & (block.sequence <= mark.sequence)
        if old.any():
            known = np.isin(block.sequence[old], self._stored(mark.id, block))
            result.duplicates += int(known.sum())
            result.rejected.update({"late": late} if (late := int((~known).sum())) else {})
        return good & ~old

    def _stored(self, boot: int, block: Block) -> NDArray[np.int64]:
        """Sequence numbers of a boot that are in the store and may be in `block`."""
        numbers = [np.empty(0, np.int64)]
        for first, last, count, blob in self._db.execute(_KNOWN, (boot, int(block.sequence[0]))):
            if first > block.sequence[-1]:
                break
            whole = last - first + 1 == count
            numbers.append(np.arange(first, last + 1) if whole else self._codec.decode(blob).sequence)
        return np.concatenate(numbers)


def _runs(rows: Sequence[StepRecord], most: int) -> Iterator[Sequence[StepRecord]]:
    """Cut where the robot or boot changes, the sequence does not rise, or rows or draws are too many: each a block."""
    start = 0
    for i in range(1, len(rows) + 1):
        before, after = rows[i - 1], rows[i] if i < len(rows) else None
        same = after is not None and (after.robot, after.boot) == (before.robot, before.boot)
        if after is None or not same or after.sequence <= before.sequence or i - start == most:
            yield from cut(rows[start:i])
            start = i
