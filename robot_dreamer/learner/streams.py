"""From rows in order of arrival to gapless streams, in chunks whose latents are computed in one go."""

from __future__ import annotations

from robot_dreamer.record import StepRecord

CHUNK = 16  # rows
Chunk = tuple[str, list[StepRecord]]
"""The name of a stream, and rows of it."""


class Streams:
    """Sorts rows by stream: one robot, one boot, no gap.

    Chunks end at fixed rows of a stream, so that reading the same rows again gives the same chunks in the same order.
    """

    def __init__(self) -> None:
        self._pending: dict[str, list[StepRecord]] = {}  # by boot
        self._segments: dict[str, tuple[int, int]] = {}  # by boot: next sequence number, first one of the gapless run

    def add(self, row: StepRecord) -> list[Chunk]:
        """Take one row; returns the chunks that are complete with it, each with the name of its stream."""
        boot = f"{row.robot}/{row.boot}"
        expected, begin = self._segments.get(boot, (row.sequence, row.sequence))
        # a robot's older boot is over: its last rows need not wait for more
        ended = [key for key in self._segments if key != boot and key.startswith(f"{row.robot}/")]
        done = []
        for key in ended:
            _, first = self._segments.pop(key)
            if rest := self._pending.pop(key, []):
                done.append((f"{key}/{first}", rest))
        if row.sequence != expected:  # rows are missing in between: what follows is a stream of its own
            if rest := self._pending.pop(boot, []):
                done.append((f"{boot}/{begin}", rest))
            begin = row.sequence
        self._segments[boot] = (row.sequence + 1, begin)
        rows = self._pending.setdefault(boot, [])
        rows.append(row)
        if len(rows) >= CHUNK or row.is_last:
            done.append((f"{boot}/{begin}", self._pending.pop(boot)))
        return done

    def discard(self, robot: str, boot: str, episode: int) -> None:
        """Forget the waiting rows of an episode."""
        key = f"{robot}/{boot}"
        if key in self._pending:
            self._pending[key] = [row for row in self._pending[key] if row.episode != episode]

    def rest(self) -> list[Chunk]:
        """Take the incomplete chunks too, for no more rows will come; what comes all the same goes on behind them."""
        chunks = [(f"{boot}/{self._segments[boot][1]}", rows) for boot, rows in self._pending.items() if rows]
        if chunks:
            self._pending = {}
        return chunks

    def waiting(self) -> dict[str, int]:
        """Rows of the incomplete chunk of every stream that goes on."""
        return {f"{boot}/{begin}": len(self._pending.get(boot, ())) for boot, (_, begin) in self._segments.items()}
