"""Every interval, timeout and size of the link, in one table. Seconds of monotonic time; wall clocks are never read."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Intervals and timeouts of both halves; tests shorten them.

    Attributes:
      commit: robot: rows wait in memory at most this long before they are committed to the spool.
      poll: both: longest sleep of a network thread.
      hello: robot: an unanswered hello is repeated after this.
      heartbeat: both: a peer is told that we live at least this often.
      silence, silence_last: both: a peer that was not heard for this long counts as gone; robot: doubled after each
        connection that ends so, up to the second, and set back by one that lasts: a bad network's handshake may take
        longer; learner: who comes back before the second is served on, as a large message may take as long.
      acknowledge: robot: with chunks in flight and no acknowledgement for this long, all are sent again; doubled each
        time, up to 16 times, until an acknowledgement comes quickly.
      piece: robot: with pieces of a bundle asked for and none coming for this long, they are asked for again; doubled
        each time, up to 16 times, until one comes quickly.
      offer: learner: a bundle that is not the newest is kept for this long after a robot last fetched from it.
      retry_first, retry_last: robot: back-off between connections, doubled each time, with 0-25 % jitter.
      refused: robot: pause after a refusal that only a person can lift (wrong spec, wrong key, wrong protocol).
      disk_retry: both: pause after the disk refused a write.
    """

    commit: float = 0.05
    poll: float = 0.025
    hello: float = 1.0
    heartbeat: float = 0.5
    silence: float = 4.0
    silence_last: float = 30.0
    acknowledge: float = 2.0
    piece: float = 2.0
    offer: float = 60.0
    retry_first: float = 0.1
    retry_last: float = 5.0
    refused: float = 5.0
    disk_retry: float = 1.0

    def backoff(self, attempt: int) -> float:
        """Pause before connection number `attempt` (from 1) of a row of failures."""
        base = min(self.retry_last, self.retry_first * 2.0 ** min(attempt - 1, 30))
        return base * (1.0 + 0.25 * random.random())  # jitter: robots must not return in step after an outage


@dataclass(frozen=True)
class LinkLimits:
    """Sizes that bound memory and disk on both sides.

    Attributes:
      queue_rows, queue_bytes: robot: rows between the control loop and the spool; what goes beyond either is dropped
        and counted.
      spool_bytes: robot: encoded rows in the spool.
      block_bytes: robot: rows encoded together (a single larger row is a block of its own).
      commit_bytes: robot: about the most that one commit to the spool brings.
      chunk_bytes, chunk_blocks: one message ends at the first of the two (a single larger block still goes).
      window, window_most: chunks in flight: at first, and while acknowledgements come quickly.
      piece_bytes: one piece of a bundle.
      piece_window: pieces in flight.
      bundle_bytes: largest bundle that a robot fetches.
      robots: robots that a learner serves at once, and as many that are away are remembered.
      queued_messages: per connection, inside ZeroMQ.
      batch_bytes: learner: payload stored in one transaction, and as much that is taken in meanwhile.
    """

    queue_rows: int = 20_000
    queue_bytes: int = 32 << 20
    spool_bytes: int = 4 << 30
    block_bytes: int = 128 << 10
    commit_bytes: int = 4 << 20
    chunk_bytes: int = 128 << 10
    chunk_blocks: int = 64
    window: int = 4
    window_most: int = 32
    piece_bytes: int = 64 << 10
    piece_window: int = 2
    bundle_bytes: int = 1 << 30
    robots: int = 256
    queued_messages: int = 64
    batch_bytes: int = 8 << 20


TIMING = Timing()
LIMITS = LinkLimits()
