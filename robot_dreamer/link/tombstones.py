"""Which episodes must not be learned from, on their way to the learner. No sockets here: see uplink.py.

An episode is named by (robot, boot, number), and to name it twice is to name it once: so each is sent until the learner
says that it is durable there, and the spool keeps it until then. Rows and tombstones may come in any order.
"""

from __future__ import annotations

from robot_dreamer.link.messages import Discard, Discarded
from robot_dreamer.link.spool import Spool
from robot_dreamer.link.timing import Timing

_AT_ONCE = 64  # messages between two looks at the socket


class Tombstones:
    """Owned by the uplink's thread."""

    def __init__(self, spool: Spool, timing: Timing) -> None:
        self._spool, self._patience = spool, timing.acknowledge
        self._sent: dict[tuple[str, int], float] = {}

    def rewind(self) -> None:
        """A new session: say all of them again."""
        self._sent.clear()

    @property
    def drained(self) -> bool:
        """The learner has them all."""
        return not self._spool.discards

    def due(self, now: float) -> list[Discard]:
        """What is to be sent now: what is new, and what was not answered in time."""
        late = [x for x in self._spool.discards if now - self._sent.get(x, -self._patience) >= self._patience]
        self._sent.update(dict.fromkeys(late[:_AT_ONCE], now))
        return [Discard(boot, episode) for boot, episode in late[:_AT_ONCE]]

    def handle(self, answer: Discarded) -> None:
        """It is durable there."""
        self._spool.settle_discard(answer.boot, answer.episode)
        self._sent.pop((answer.boot, answer.episode), None)
