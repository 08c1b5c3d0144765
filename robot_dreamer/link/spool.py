"""The robot's spool: rows on disk from the moment they count as recorded until the learner has settled them.

Rows are kept in order of recording, over all boots, so a restarted robot first sends what the last run left behind.
When the spool is full, one of two stated rules applies: drop the oldest rows (of those not yet settled) and count them,
or refuse new ones, so that the robot can stop with a fault. Rows live, go and are dropped in whole blocks, so that a
commit costs a handful of statements, whatever the number of its rows.

A file that turns out to be damaged is moved aside, and another one begins: a robot that cannot record learns nothing.
"""

from __future__ import annotations

import itertools
import logging
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, NamedTuple

from robot_dreamer.link.blocks import BlockCodec, Buffer
from robot_dreamer.link.database import DAMAGE, Database, connect_to_read, disk_advice, is_damage, looked_into
from robot_dreamer.link.errors import DamagedFile, LinkError, RowError
from robot_dreamer.link.messages import MAX_ROWS
from robot_dreamer.spec import RobotSpec

_LOG = logging.getLogger(__name__)

SPOOL_FILE = "spool.sqlite"  # in a robot's folder
WhenFull = Literal["drop_oldest", "stop"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blocks (id INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, last INTEGER NOT NULL,
                                   count INTEGER NOT NULL, size INTEGER NOT NULL, blob BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS blocks_by_boot ON blocks (boot, last, count, size);
CREATE TABLE IF NOT EXISTS discards (boot TEXT NOT NULL, episode INTEGER NOT NULL, PRIMARY KEY (boot, episode));
"""
_INSERT = "INSERT INTO blocks (boot, last, count, size, blob) VALUES (?, ?, ?, ?, ?)"
_DISCARD = "INSERT OR IGNORE INTO discards VALUES (?, ?)"
_SETTLED = "DELETE FROM discards WHERE boot = ? AND episode = ?"
_READ = "SELECT id, boot, last, count, blob FROM blocks WHERE id > ? ORDER BY id"
_GO_ON = "INSERT INTO sqlite_sequence VALUES ('blocks', ?)"  # ids rise over files, too
_EVER = "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'blocks'"


class NewBlock(NamedTuple):
    """A block to be spooled; `last` is the sequence number of its last row."""

    boot: str
    last: int
    rows: int
    blob: Buffer


class SpoolBlock(NamedTuple):
    """`id` orders blocks over all boots."""

    id: int
    boot: str
    last: int
    rows: int
    blob: Buffer


class SpoolResult(NamedTuple):
    """What one append did, in rows: kept, new ones refused, old ones dropped."""

    kept: int
    refused: int
    dropped: int


class Spool:
    """Thread safe; only `append` waits for the disk.

    Attributes:
      rows, bytes: on disk, settled ones included until the next append.
      newest_id: id of the newest block that is on the disk.
      discards: episodes (boot, number) that must not be learned from, as long as the learner does not know it.
      lost: rows that went with damaged files.

    Args:
      path: SQLite file.
      spec, robot: a spool of another spec or robot is refused (SpecMismatch, LinkError).
      limit: bytes of blocks; what one append brings may exceed it for a moment.
      when_full: the rule above.
    """

    def __init__(self, path: Path, spec: RobotSpec, robot: str, limit: int, when_full: WhenFull) -> None:
        self.path, self._spec, self._robot, self._limit, self._when_full = path, spec, robot, limit, when_full
        self._lock = threading.Lock()
        self._settled: dict[str, int] = {}  # acknowledged, not yet deleted
        self._known: list[tuple[str, int]] = []  # likewise, of the discards
        self.rows = self.bytes = self.newest_id = self.lost = 0
        self.discards: tuple[tuple[str, int], ...] = ()
        try:
            self._open()
        except DamagedFile as error:
            self._begin_anew(str(error))

    def _open(self) -> None:
        self._database = Database(self.path, "spool", _SCHEMA, self._spec, BlockCodec(self._spec).row_bytes)
        self._codec = BlockCodec(self._spec, self._database.spec)
        self._db = self._database.connection
        totals = "SELECT COALESCE(SUM(count), 0), COALESCE(SUM(size), 0), COALESCE(MAX(id), 0) FROM blocks"
        try:
            owner = self._database.meta("robot")
            if owner is None:
                self._database.set_meta("robot", self._robot)
            elif owner != self._robot:
                text = f"{self.path} holds rows of robot {owner!r}, this robot is {self._robot!r}"
                raise LinkError(f"{text}; use another directory")
            with looked_into(self.path, "spool"):
                found = self._db.execute(totals).fetchone()
                self.rows, self.bytes, self.newest_id = (int(number) for number in found)
                discards = self._db.execute("SELECT boot, episode FROM discards").fetchall()
                self.discards = tuple((str(boot), int(episode)) for boot, episode in discards)
        except BaseException:
            self._database.close()
            raise

    def _begin_anew(self, why: str) -> None:
        """Move the file, which is closed, aside and open another. Raises LinkError where the disk refuses that too."""
        newest, discards = self.newest_id, self.discards
        self.lost += self.rows
        with disk_advice(self.path, "it is damaged, and no other one can be begun"):
            aside = _move_aside(self.path)
            self._open()
            self._db.execute(_GO_ON, (newest,))
            self._db.executemany(_DISCARD, discards)
        self.newest_id, self.discards = newest, discards
        self._settled.clear()
        self._known.clear()
        _LOG.error("%s; it is %s now, and a new one begins", why, aside)

    def _give_up(self, error: Exception) -> None:
        """Begin anew if the bytes of the file are to blame for an error, which is raised again if they are not."""
        if not is_damage(error):
            raise error
        self._database.close()
        self._begin_anew(f"{self.path} is damaged: {error}")

    def append(self, blocks: Sequence[NewBlock], discards: Sequence[tuple[str, int]] = ()) -> SpoolResult:
        """Commit blocks and discards in order, and forget what is settled. On the disk when it returns."""
        with self._lock:
            if not (blocks or discards or self._settled or self._known):
                return SpoolResult(0, 0, 0)
            try:
                return self._append(blocks, discards)
            except sqlite3.Error as error:
                self._give_up(error)
            return self._append(blocks, discards)

    def _append(self, blocks: Sequence[NewBlock], discards: Sequence[tuple[str, int]]) -> SpoolResult:
        counts = self.rows, self.bytes
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for boot, sequence in self._settled.items():
                self._delete("boot = ? AND last <= ?", (boot, sequence))
            self._db.executemany(_SETTLED, self._known)
            self._db.executemany(_DISCARD, discards)
            kept = list(blocks)
            size = sum(len(block.blob) for block in kept)
            dropped = 0
            if self._when_full == "drop_oldest":
                dropped = self._make_room(size)
            else:
                while kept and self.bytes + size > self._limit:
                    size -= len(kept.pop().blob)
            newest = self.newest_id
            for block in kept:
                values = (block.boot, block.last, block.rows, len(block.blob), block.blob)
                newest = self._db.execute(_INSERT, values).lastrowid or 0
            rows = sum(block.rows for block in kept)
            self.rows += rows
            self.bytes += size
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self.rows, self.bytes = counts
            raise
        self.newest_id = newest
        self._settled.clear()
        self._known.clear()
        self.discards = tuple(dict.fromkeys((*self.discards, *discards)))
        return SpoolResult(rows, sum(block.rows for block in blocks) - rows, dropped)

    @property
    def has_room(self) -> bool:
        """Half of the limit is free."""
        return self.bytes <= self._limit / 2

    def read(self, after: int, max_bytes: int, max_blocks: int) -> list[SpoolBlock]:
        """Next blocks of one boot with id > after; at least one if there is any, then up to the limits."""
        with self._lock, disk_advice(self.path, "rows cannot be read"):
            try:
                return self._read(after, max_bytes, max_blocks)
            except DAMAGE as error:
                self._give_up(error)
                return []

    def _read(self, after: int, max_bytes: int, max_blocks: int) -> list[SpoolBlock]:
        chunk: list[SpoolBlock] = []
        size = rows = 0
        for found in self._db.execute(_READ, (after,)):
            block = SpoolBlock(*found)
            if block.last <= self._settled.get(block.boot, -1):
                continue
            size += len(block.blob)
            rows += block.rows
            if chunk and (block.boot != chunk[0].boot or size > max_bytes or rows > MAX_ROWS):
                break
            chunk.append(block._replace(blob=self._of_today(block.blob)))
            if len(chunk) >= max_blocks:
                break
        return chunk

    def _of_today(self, blob: Buffer) -> Buffer:
        try:
            return self._codec.restamped(blob)
        except RowError:  # the learner refuses it, and counts it
            return blob

    def newest_of(self, boot: str) -> int:
        """Highest sequence number of a boot that is here; -1 for none."""
        with self._lock:
            found = self._db.execute("SELECT MAX(last) FROM blocks WHERE boot = ?", (boot,)).fetchone()[0]
        return -1 if found is None else int(found)

    def settle(self, boot: str, sequence: int) -> None:
        """The learner has everything of `boot` up to `sequence`. Deleted with the next append, to save a sync."""
        with self._lock:
            self._settled[boot] = max(sequence, self._settled.get(boot, -1))

    def settle_discard(self, boot: str, episode: int) -> None:
        """The learner knows it. Deleted with the next append."""
        with self._lock:
            self._known.append((boot, episode))
            self.discards = tuple(x for x in self.discards if x != (boot, episode))

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def _delete(self, where: str, values: tuple[object, ...]) -> int:
        totals = f"SELECT COALESCE(SUM(count), 0), COALESCE(SUM(size), 0) FROM blocks WHERE {where}"
        rows, size = self._db.execute(totals, values).fetchone()
        self._db.execute(f"DELETE FROM blocks WHERE {where}", values)
        self.rows -= rows
        self.bytes -= size
        return int(rows)

    def _make_room(self, size: int) -> int:
        """Drop the oldest blocks until `size` more bytes fit; returns the rows that went."""
        excess = self.bytes + size - self._limit
        if excess <= 0:
            return 0
        last = 0
        for number, length in self._db.execute("SELECT id, size FROM blocks ORDER BY id"):
            last = number
            excess -= length
            if excess <= 0:
                break
        return self._delete("id <= ?", (last,))


def spooled_ever(path: Path) -> int:
    """Blocks that a spool has held since it began, those that went included; 0 if there is none, or it is damaged."""
    if not path.exists():
        return 0
    try:
        with closing(connect_to_read(path)) as db:
            return int(db.execute(_EVER).fetchone()[0])
    except (*DAMAGE, ValueError) as error:
        _LOG.warning("%s does not tell what it has held: %s", path, error)
        return 0


def _move_aside(path: Path) -> Path:
    """Give a database, which nobody has open, a name that nothing has; returns that."""
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in itertools.count(1))
    aside = next(name for name in names if not name.exists())
    for end in ("-wal", "-shm", ""):
        part = path.with_name(path.name + end)
        if part.exists():
            part.rename(aside.with_name(aside.name + end))
    return aside
