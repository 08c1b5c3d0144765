"""From the control loop to the spool.

The control loop only appends to a deque in memory (no lock, no disk, no socket). A thread encodes what is there, checks
it against the spec and commits it, a batch per `Timing.commit`. A full queue (the disk stands still) drops the new row
and counts it; a row that does not fit the spec is refused and counted; a failing disk is retried, and shown.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter, deque

from robot_dreamer.link.rows import RowCodec
from robot_dreamer.link.spool import Spool
from robot_dreamer.link.timing import Limits, Timing
from robot_dreamer.link.worker import Worker
from robot_dreamer.record import RecordError, StepRecord


class SpoolWriter:
    """Owns the thread between `record` and the spool."""

    def __init__(self, spool: Spool, codec: RowCodec, robot: str, boot: str, timing: Timing, limits: Limits) -> None:
        self._spool, self._codec, self._timing, self._limits = spool, codec, timing, limits
        self._identity = (robot, boot)
        self._queue: deque[StepRecord] = deque()
        self._batch: list[tuple[str, int, bytes]] = []  # encoded, not yet on disk
        self._newest = -1
        self._overflow = 0  # written by the control loop only
        self._counter_lock = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self.recorded = 0
        self.last_error = ""
        self.full = False
        self.worker = Worker("link writer", self._run)

    def put(self, row: StepRecord) -> None:
        """For the control loop: never waits."""
        if len(self._queue) >= self._limits.queue_rows:
            self._overflow += 1
        else:
            self._queue.append(row)

    @property
    def queued(self) -> int:
        """Rows in memory."""
        return len(self._queue) + len(self._batch)

    def dropped(self) -> dict[str, int]:
        """Rows that will never reach the learner, by kind."""
        with self._counter_lock:
            counts = dict(self._dropped)
        return counts | ({"queue_full": self._overflow} if self._overflow else {})

    def _count(self, kind: str, rows: int) -> None:
        if rows:
            with self._counter_lock:
                self._dropped[kind] += rows

    def _run(self) -> None:
        pause = self._timing.commit
        while not self.worker.stopping.wait(pause):
            pause = self._timing.commit if self._flush() else self._timing.disk_retry
        while self._queue or self._batch:
            if not self._flush():
                self._count("disk_failed_at_stop", self.queued)
                break

    def _flush(self) -> bool:
        """Encode and commit what is queued. False: the disk refused; the rows are kept for the next try."""
        while self._queue and len(self._batch) < self._limits.queue_rows:
            self._encode(self._queue.popleft())
        try:
            result = self._spool.append(self._batch)
        except sqlite3.Error as error:
            self.last_error = f"spool: {error}"
            return False
        self._batch = []
        self.recorded += result.kept
        self._count("spool_dropped_oldest", result.dropped)
        self._count("spool_full", result.refused)
        self.full = self.full or result.refused > 0
        return True

    def _encode(self, row: StepRecord) -> None:
        try:
            if (row.robot, row.boot) != self._identity:
                raise RecordError(f"row of ({row.robot}, {row.boot}) given to the link of {self._identity}")
            if row.sequence <= self._newest:
                raise RecordError(f"sequence {row.sequence} after {self._newest}: it must rise within a boot")
            blob = self._codec.encode(row)
        except RecordError as error:
            self.last_error = f"row {row.sequence} refused: {error}"
            self._count("invalid", 1)
            return
        self._newest = row.sequence
        self._batch.append((row.boot, row.sequence, blob))
