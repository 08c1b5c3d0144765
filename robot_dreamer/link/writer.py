"""From the control loop to the spool.

The control loop only appends to a deque in memory (no lock, no disk, no socket). A thread encodes what is there, in
blocks, checks it against the spec and commits it: once per `Timing.commit`, and earlier if much is waiting. A full
queue (the disk stands still) drops the new row and counts it; a row that does not fit the spec is refused and counted;
a failing disk is a fault as long as it fails, and is tried again.

Everything here costs a few calls per block, not per row: each call into SQLite gives the interpreter lock away, and
getting it back beside a busy thread takes a switch interval (5 ms) or more. It takes much more beside a thread that
gives it away for moments, as an executor does: that one has it back before we are awake, and because we were woken, not
timed out, we do not even ask for it.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence

from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.draw_section import cut
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.spool import NewBlock, Spool
from robot_dreamer.link.timing import LinkLimits, Timing
from robot_dreamer.link.worker import Worker
from robot_dreamer.record import RecordError, StepRecord


class SpoolWriter:
    """Owns the thread between `record` and the spool.

    Args:
      committed: called after each commit, from the thread.

    Attributes:
      recorded: rows on disk since start.
      last_error: newest refused row, in words; it stays, as the count of them does.
      disk_fault: why the disk refuses rows; empty while it takes them.
      full: the spool refused rows by its rule "stop"; until it takes one, or half of it is free.
    """

    def __init__(
        self,
        spool: Spool,
        codec: BlockCodec,
        robot: str,
        boot: str,
        timing: Timing,
        limits: LinkLimits,
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        self._spool, self._codec, self._timing, self._committed = spool, codec, timing, committed
        self._identity = (robot, boot)
        self._capacity = max(1, min(limits.queue_rows, limits.queue_bytes // codec.row_bytes))
        self._block_rows = codec.rows_in(limits.block_bytes)
        self._commit_rows = max(1, limits.commit_bytes // codec.row_bytes)
        self._hurry = max(1, min(self._commit_rows, self._capacity // 4))  # rows that do not wait for the next commit
        self._queue: deque[StepRecord] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()  # its put never waits
        self._batch: list[NewBlock] = []  # encoded, not yet on disk
        self._batch_rows = 0
        self._discards: deque[int] = deque()  # episodes, not yet on disk
        self._newest = -1
        self._overflow = 0  # written by the control loop only
        self._counter_lock = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self.recorded = 0
        self.last_error = self.disk_fault = ""
        self.full = False
        self.worker = Worker("link writer", self._run)

    def put(self, row: StepRecord) -> None:
        """For the control loop: never waits."""
        waiting = len(self._queue)
        if waiting >= self._capacity:
            self._overflow += 1
            return
        self._queue.append(row)
        if waiting >= self._hurry and self._bell.empty():
            self._bell.put(None)

    def discard(self, episode: int) -> None:
        """For callbacks: never waits."""
        self._discards.append(episode)
        self._bell.put(None)

    def stop(self, timeout: float) -> None:
        """Commit what is queued, end. Raises LinkError if the thread had died or does not end in time."""
        self.worker.stopping.set()
        self._bell.put(None)
        self.worker.stop(timeout)

    @property
    def discards(self) -> int:
        """Episodes in memory that must not be learned from."""
        return len(self._discards)

    @property
    def queued(self) -> int:
        """Rows in memory."""
        return len(self._queue) + self._batch_rows

    def dropped(self) -> dict[str, int]:
        """Rows that will never reach the learner, by kind."""
        with self._counter_lock:
            counts = dict(self._dropped)
        counts |= {"queue_full": self._overflow} if self._overflow else {}
        return counts | ({"spool_damaged": self._spool.lost} if self._spool.lost else {})

    def _count(self, kind: str, rows: int) -> None:
        if rows:
            with self._counter_lock:
                self._dropped[kind] += rows

    def _run(self) -> None:
        while not self.worker.stopping.is_set():
            if len(self._queue) < self._hurry:
                with contextlib.suppress(queue.Empty):  # then it is time
                    self._bell.get(timeout=self._timing.commit)
            if not self._flush():
                self.worker.stopping.wait(self._timing.disk_retry)
        while self._queue or self._batch or self._discards:
            if not self._flush():
                self._count("disk_failed_at_stop", self.queued)
                self._count("discards_failed_at_stop", len(self._discards))
                break

    def _flush(self) -> bool:
        """Encode and commit what is queued. False: the disk refused; the rows are kept for the next try."""
        rows: list[StepRecord] = []
        while self._queue and self._batch_rows + len(rows) < min(self._commit_rows, self._capacity):
            rows.append(self._queue.popleft())
        self._batch_rows += len(rows)
        invalid = 0
        for start in range(0, len(rows), self._block_rows):
            invalid += sum(map(self._encode, cut(rows[start : start + self._block_rows])))
        self._batch_rows -= invalid
        discards = [(self._identity[1], episode) for episode in tuple(self._discards)]
        try:
            result = self._spool.append(self._batch, discards)
        except (sqlite3.Error, LinkError) as error:
            text = "the disk refuses rows, which wait in memory: spool: "
            self.disk_fault = f"{text}{error}; check the disk and its free space"
            return False
        self.disk_fault = ""
        if self._batch:
            self.full = result.refused > 0
        elif self._spool.has_room:  # who has stopped for a full one brings no row that would show it
            self.full = False
        self._batch, self._batch_rows = [], 0
        for _ in discards:
            self._discards.popleft()
        self.recorded += result.kept
        self._count("spool_dropped_oldest", result.dropped)
        self._count("spool_full", result.refused)
        if result.kept or discards:
            self._committed()
        return True

    def _encode(self, rows: Sequence[StepRecord]) -> int:
        """Add a block of these rows to the batch; returns how many do not fit."""
        given = len(rows)
        first = rows[0]
        try:
            if (first.robot, first.boot) != self._identity or first.sequence <= self._newest:
                raise RecordError("the first row does not fit")
            blob = self._codec.encode(rows)
        except RecordError:
            rows = [row for row in rows if self._fits(row)]
            if not rows:
                return given
            blob = self._codec.encode(rows)
        self._newest = int(rows[-1].sequence)
        self._batch.append(NewBlock(self._identity[1], self._newest, len(rows), blob))
        return given - len(rows)

    def _fits(self, row: StepRecord) -> bool:
        try:
            if (row.robot, row.boot) != self._identity:
                raise RecordError(f"row of ({row.robot}, {row.boot}) given to the link of {self._identity}")
            if row.sequence <= self._newest:
                raise RecordError(f"sequence {row.sequence} after {self._newest}: it must rise within a boot")
            self._codec.encode([row])
        except RecordError as error:
            self.last_error = f"row {row.sequence} refused: {error}"
            self._count(error.kind, 1)
            return False
        self._newest = int(row.sequence)
        return True
