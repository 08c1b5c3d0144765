"""Episodes that a person has said not to learn from: what is in the replay of them leaves it, what comes is left out.

The store numbers these marks as they come, and they apply where the trainer stands in the store when it hears of them.
A checkpoint says where that was: so a resumed run adds and drops the same rows in the same order, and its replay is
that of the uncut one. What an update has learned already stays learned. In the same list stands where rows were taken
that waited for more of their chunk (`learn --offline`, where none come).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence

from robot_dreamer.learner.checkpoint import CheckpointError
from robot_dreamer.learner.replay import Replay
from robot_dreamer.learner.streams import Chunk, Streams
from robot_dreamer.link.reader import Mark
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import StepRecord

_log = logging.getLogger(__name__)
_REST = 0  # marks are numbered from 1
Applied = tuple[int, int]
"""The row of the store that was read last, and the number of the mark; or _REST: the rows that waited were taken then,
which comes in order with the marks, since either changes what the other finds."""


class Discards:
    """Of one trainer.

    Attributes:
      applied: in order, for a checkpoint.
    """

    def __init__(self, store: ExperienceStore, replay: Replay, streams: Streams) -> None:
        self._store, self._replay, self._streams = store, replay, streams
        self._episodes: set[tuple[str, str, int]] = set()
        self._known: dict[int, Mark] = {}
        self._again: deque[Applied] = deque()
        self.applied: list[Applied] = []

    def __contains__(self, row: StepRecord) -> bool:
        return (row.robot, row.boot, row.episode) in self._episodes

    def hear(self, cursor: int) -> None:
        """Apply what is new in the store; the row read last is `cursor`."""
        newest = max((number for _, number in self.applied), default=0)
        for mark in self._store.marks(newest):
            rows = self._apply(cursor, mark)
            text = "episode %d of robot %s, boot %s, is discarded: %d of its rows leave the replay"
            _log.info(text, mark.episode, mark.robot, mark.boot, rows)

    def resume(self, applied: Sequence[Applied]) -> None:
        """What a checkpoint states; `repeat` does it. Raises CheckpointError if the store does not know of it."""
        self._known = {mark.number: mark for mark in self._store.marks()}
        known = {_REST, *self._known}
        unknown = [number for _, number in applied if number not in known]
        if unknown:
            text = f"the checkpoint has left out an episode by mark {unknown[0]}, which the experience store has not"
            raise CheckpointError(f"{text}: it is not the one that was trained with")
        self._again = deque(applied)

    def rest(self, cursor: int) -> list[Chunk]:
        """The rows that wait for more of their chunk, for none will come; the row read last is `cursor`."""
        chunks = self._streams.rest()
        if chunks:
            self.applied.append((cursor, _REST))
        return chunks

    def repeat(self, cursor: int) -> Iterator[Chunk]:
        """Apply what the checkpoint's run had applied when the row read last was `cursor`.

        Yields the rows that it took there without waiting for more, to be added before what follows is applied.
        """
        while self._again and self._again[0][0] <= cursor:
            at, number = self._again.popleft()
            if number == _REST:
                yield from self.rest(at)
            else:
                self._apply(at, self._known[number])

    def _apply(self, cursor: int, mark: Mark) -> int:
        episode = (mark.robot, mark.boot, mark.episode)
        self._episodes.add(episode)
        self.applied.append((cursor, mark.number))
        self._streams.discard(*episode)
        return self._replay.discard(*episode)
