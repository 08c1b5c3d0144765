"""Which rows go out next, and what an acknowledgement settles. No sockets here: the uplink carries the messages.

A few chunks are in flight at once. Rows stay in the spool until the learner has settled them, so every doubt has one
answer: go back to the oldest row in the spool and send from there; the learner discards what it has. Doubts are: a new
session, an acknowledgement that does not come in time, and a learner that misses the chunk before this one.

The window grows by each chunk that is acknowledged quickly, so that a fast disk and network are kept busy, and falls
back after a doubt. Each time that no acknowledgement came in time the patience doubles until one comes quickly again:
a slow network must not be filled with repetitions of what is still on its way.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from robot_dreamer.link.blocks import carries_draws
from robot_dreamer.link.chunks import Compressor, Packed, pack
from robot_dreamer.link.messages import OLDEST, PROTOCOL, Ack, Rows
from robot_dreamer.link.spool import Spool
from robot_dreamer.link.timing import LinkLimits, Timing

_PATIENCE = 16  # the most, in units of Timing.acknowledge


class _InFlight(NamedTuple):
    boot: str
    last: int
    rows: int
    sent: float


class Shipper:
    """Owned by the uplink's thread.

    Attributes:
      sent: rows sent, repeats included.
      acknowledged: rows settled by the learner.
      rewinds: how often rows were sent again after a doubt within a session.
      bad_acks: acknowledgements of rows that were never sent; ignored.
      protocol: that a learner must speak to read the newest chunk.
    """

    def __init__(self, spool: Spool, timing: Timing, limits: LinkLimits) -> None:
        self._spool, self._timing, self._limits = spool, timing, limits
        self._compressor = Compressor()
        self._flight: deque[_InFlight] = deque()
        self._cursor = 0  # id in the spool of the newest block sent since the last rewind
        self._previous: dict[str, int] = {}  # boot -> last sequence sent since the last rewind
        self._highest: dict[str, int] = {}  # boot -> highest sequence ever sent by this process
        self._window = limits.window
        self._quick = timing.acknowledge / 8
        self._patience = timing.acknowledge
        self._chunk = 0
        self._rewound_at = 0  # chunk number; answers to older chunks cause no further rewind
        self._progress = 0.0
        self.protocol = OLDEST
        self.sent = self.acknowledged = self.rewinds = self.bad_acks = 0

    def rewind(self) -> None:
        """Forget what is in flight and start again at the oldest row."""
        self._flight.clear()
        self._previous.clear()
        self._cursor = 0
        self._rewound_at = self._chunk
        self._window = self._limits.window

    @property
    def drained(self) -> bool:
        """Everything in the spool was sent and settled."""
        return not self._flight and self._cursor >= self._spool.newest_id

    def next_chunk(self, now: float) -> Rows | None:
        """The next chunk, or None while the window is full or nothing is new. The caller must send it or rewind."""
        newest = self._spool.newest_id  # before it is read: what comes meanwhile was not looked at
        if len(self._flight) >= self._window or self._cursor >= newest:
            return None
        blocks = self._spool.read(self._cursor, self._limits.chunk_bytes, self._limits.chunk_blocks)
        if not blocks:  # all of it is settled or was dropped
            self._cursor = newest
            return None
        boot, last = blocks[0].boot, blocks[-1].last
        count = sum(block.rows for block in blocks)
        self.protocol = PROTOCOL if any(carries_draws(block.blob) for block in blocks) else OLDEST
        data = pack(Packed(block.rows, block.blob) for block in blocks)
        encoding, packed = self._compressor.compress(data)
        chunk = Rows(
            boot=boot,
            chunk=self._chunk,
            previous=self._previous.get(boot, -1),
            last=last,
            count=count,
            encoding=encoding,
            size=len(data),
            data=memoryview(packed),
        )
        if not self._flight:
            self._progress = now
        self._flight.append(_InFlight(boot, last, count, now))
        self._chunk += 1
        self._cursor = blocks[-1].id
        self._previous[boot] = last
        self._highest[boot] = max(last, self._highest.get(boot, -1))
        self.sent += count
        return chunk

    def handle(self, ack: Ack, now: float) -> None:
        """Settle what the learner has, or go back."""
        sent = self._highest.get(ack.boot, -1)
        if ack.sequence > sent and (sent < 0 or ack.sequence > self._spool.newest_of(ack.boot)):
            self.bad_acks += 1
            return
        # After a restart the learner may have more of a boot than was sent again.
        settled = min(ack.sequence, sent)
        if settled >= 0:
            self._spool.settle(ack.boot, settled)
        done = [x for x in self._flight if x.boot == ack.boot and x.last <= settled]
        if done:
            self.acknowledged += sum(x.rows for x in done)
            self._flight = deque(x for x in self._flight if x.boot != ack.boot or x.last > settled)
            self._progress = now
            quick = sum(now - x.sent < self._quick for x in done)
            self._window = min(self._window + quick, max(self._limits.window, self._limits.window_most))
            if quick:
                self._patience = self._timing.acknowledge
        if ack.resend and ack.chunk >= self._rewound_at:
            self.rewinds += 1
            self.rewind()

    def check(self, now: float) -> None:
        """Go back if acknowledgements stay away."""
        if self._flight and now - self._progress > self._patience:
            self.rewinds += 1
            self._patience = min(2 * self._patience, _PATIENCE * self._timing.acknowledge)
            self.rewind()
