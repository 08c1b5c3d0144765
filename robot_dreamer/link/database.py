"""One way to open SQLite on both sides: durable, owned by one process, tied to one spec.

Durability: write-ahead log with synchronous=FULL, so each commit is on the disk when it returns and survives a pulled
plug, not just a killed process (with NORMAL a pulled plug takes back the last commits, acknowledged ones among them).
Both sides commit in batches: at a robot's usual rate a flash card sees at most 1 / Timing.commit small syncs a second.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

from robot_dreamer.link.errors import DamagedFile, LinkError
from robot_dreamer.spec import RobotSpec, SpecMismatch, require_same_spec

FORMAT = "4"
_OLDER = ("2", "3")  # become ones of today's format when they are opened to be written
_CHECKPOINT = 4 << 20  # bytes of log copied into the file at a time: a commit that does it waits for all of them
_WAITING = {"spool": "start the robot once more with that spec, so that its learner gets the rows that wait there, or "}


DAMAGE = (sqlite3.Error, msgspec.MsgspecError, UnicodeDecodeError, TypeError, OverflowError, RecursionError)
"""What damaged bytes of a file make SQLite, our decoders and our arithmetic raise."""


def damaged(path: Path, kind: str, error: Exception) -> DamagedFile:
    """An error that says what can be done about a file of that kind."""
    advice = {
        "store": f"what is whole is saved by `robot-dreamer data salvage {path} --output NEW.sqlite`",
        "spool": "move it away; what the learner has not got of it is lost",
    }
    return DamagedFile(
        f"{path} cannot be opened as an experience {kind}: {error}; if it is one, it is damaged: {advice[kind]}"
    )


def is_damage(error: Exception) -> bool:
    """Whether it is the bytes of a file that are to blame for one of DAMAGE; not its disk, nor whoever asks."""
    if isinstance(error, sqlite3.Error):
        return type(error) is sqlite3.DatabaseError or "Could not decode" in str(error)
    return True


@contextmanager
def looked_into(path: Path, kind: str) -> Iterator[None]:
    """Whatever the bytes of a file of that kind are, DamagedFile is what they raise."""
    try:
        yield
    except DAMAGE as error:
        raise damaged(path, kind, error) from error


class Database:
    """An SQLite file with a `meta` table and a lock that keeps a second process out.

    Args:
      path: the file; folders are made.
      kind: what the file is ("spool", "store"), written into it.
      schema: CREATE TABLE IF NOT EXISTS statements.
      spec: a file with something of another spec is refused.
      row_bytes: size of a row's arrays; a new file gets pages to suit.

    Attributes:
      spec: that the file was made for; its contract is the same, and its blocks may have its older hashes.

    Raises:
      SpecMismatch: with both sides shown.
      LinkError: the file is in use, or is something else.
    """

    def __init__(self, path: Path, kind: str, schema: str, spec: RobotSpec, row_bytes: int) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.path)
        try:
            self.connection = connect(self.path, row_bytes)
            try:
                self._begin(kind, schema, spec)
            except BaseException:
                self.connection.close()
                raise
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, sqlite3.OperationalError):  # no permission, no space, no file of that name
                raise LinkError(f"{self.path} cannot be opened as an experience {kind}: {error}") from error
            if isinstance(error, DAMAGE):
                raise damaged(self.path, kind, error) from error
            raise

    def _begin(self, kind: str, schema: str, spec: RobotSpec) -> None:
        db = self.connection
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        if self.meta("kind") is None:
            self.set_meta("kind", kind)
            self.set_meta("format", FORMAT)
            self.set_meta("id", uuid.uuid4().hex)
            self.set_meta("spec", spec.to_json())
        if self.meta("kind") != kind or self.meta("format") not in (FORMAT, *_OLDER):
            found = f"{self.meta('kind')} of format {self.meta('format')}"
            raise LinkError(f"{self.path} is a {found}, expected a {kind} of format {FORMAT}; choose another directory")
        self.spec = msgspec.json.decode(self.meta("spec") or "", type=RobotSpec)
        if self.spec.hash != spec.hash and self._unused():
            self.set_meta("spec", spec.to_json())
            self.spec = spec
        try:
            require_same_spec(spec, self.spec, f"experience {kind} {self.path}")
        except SpecMismatch as error:  # what helps last: of a program's words a supervisor shows the last lines
            helps = f"choose another log directory than {self.path.parent}, which is of robot {self.spec.name!r}"
            raise SpecMismatch(f"{error}\n{_WAITING.get(kind, '')}{helps} and spec {self.spec.hash[:12]}") from error
        if self.meta("format") != FORMAT:
            self.set_meta("format", FORMAT)
        for statement in filter(str.strip, schema.split(";")):
            db.execute(statement)
        db.execute("COMMIT")

    def _unused(self) -> bool:
        """Nothing in it, or made from it, is of its spec: no row, and no bundle that was published."""
        there = self.connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'blocks'").fetchone()[0]
        rows = there and self.connection.execute("SELECT COUNT(*) FROM (SELECT 1 FROM blocks LIMIT 1)").fetchone()[0]
        return not rows and self.meta("published") is None

    def meta(self, name: str) -> str | None:
        found = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def set_meta(self, name: str, value: str) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Close the file and let others have it. Safe to call twice."""
        self.connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def stored_spec(path: Path, kind: str) -> RobotSpec:
    """The spec that a file was made for, which may be in use. Raises LinkError for another kind of file or format."""
    try:
        db = connect_to_read(path)
        try:
            meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
        finally:
            db.close()
        if meta.get("kind") != kind or meta.get("format") not in (FORMAT, *_OLDER):
            found = f"{meta.get('kind')} of format {meta.get('format')}"
            raise LinkError(f"{path} is a {found}, expected a {kind} of format {FORMAT}")
        return msgspec.json.decode(meta["spec"], type=RobotSpec)
    except (*DAMAGE, KeyError) as error:
        raise LinkError(f"{path} cannot be read as an experience {kind}: {error}") from error


@contextmanager
def disk_advice(path: Path, problem: str) -> Iterator[None]:
    """What SQLite and the disk raise becomes a LinkError that says what could not be done and what to do."""
    try:
        yield
    except (*DAMAGE, OSError) as error:
        raise LinkError(f"{path}: {problem}: {error}; check the disk and its free space") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody has the database of that name open meanwhile. Raises LinkError that names the process which has."""
    descriptor = _lock(path)
    try:
        yield
    finally:
        os.close(descriptor)


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing; the caller guards it against use by two threads at once.

    Even to read, SQLite makes files beside the database. Where the folder refuses them, and no writer has left its log
    there, nobody writes, and it is read as a file that stays as it is.
    """
    folder = path.absolute().parent
    still = not os.access(folder, os.W_OK, effective_ids=True) and not (folder / f"{path.name}-wal").exists()
    address = f"file:{quote(str(folder / path.name))}?mode=ro{'&immutable=1' if still else ''}"
    return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=10.0)


def connect(path: Path, row_bytes: int) -> sqlite3.Connection:
    """A connection without implicit transactions; the caller guards it against use by two threads at once."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    # Rows with images spill over many small pages; large pages store them twice as fast, and small rows a third slower.
    # Larger ones still are faster in bulk, but at a robot's usual rate each small commit rewrites several whole pages.
    page = 4096 if row_bytes < 4096 else 16384
    db.execute(f"PRAGMA page_size={page}")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT // page}")
    db.execute("PRAGMA synchronous=FULL")
    return db


def _lock(path: Path) -> int:
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise LinkError(f"{path} is in use by process {holder}; stop it, or give this one another directory") from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
