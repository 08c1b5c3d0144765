"""What a robot has sent to be kept: rows, or that an episode must not be learned from."""

from __future__ import annotations

from typing import NamedTuple

from robot_dreamer.link.messages import Ack, Discard, Discarded, Rows
from robot_dreamer.link.sessions import Session
from robot_dreamer.link.store import AddResult, Examined, ExperienceStore


class Arrival(NamedTuple):
    """A message, unpacked and examined; `identity` is the connection that it came by, `blocks` are of rows only."""

    session: Session
    identity: bytes
    message: Rows | Discard
    blocks: list[Examined]

    @property
    def size(self) -> int:
        """Bytes, unpacked."""
        return self.message.size if isinstance(self.message, Rows) else 0

    @property
    def sender(self) -> bytes | None:
        """Whom to answer; None where the robot has another connection by now, on which it sends the rest again."""
        return self.identity if self.session.identity == self.identity else None

    def put(self, store: ExperienceStore) -> tuple[AddResult, Ack | Discarded]:
        """Add it to the store, inside a transaction; returns what to answer once that is durable."""
        robot, message = self.session.robot, self.message
        if isinstance(message, Discard):
            new = store.discard(robot, message.boot, message.episode)
            return AddResult(discarded=int(new)), Discarded(message.boot, message.episode)
        result = store.add_chunk(robot, message.boot, message.previous, message.last, self.blocks)
        settled = store.settled(robot, message.boot)
        return result or AddResult(), Ack(message.boot, message.chunk, settled, resend=result is None)
