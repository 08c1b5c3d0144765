"""The rows of one boot in their order: which of them begin an episode, and which are missing."""

from __future__ import annotations

from robot_dreamer.record import StepRecord


class Succession:
    """Show it each row of a (robot, boot), in the order of the store.

    Attributes:
      begins: the newest row is the first one seen of its episode; that one's own first row may be missing.
      missing: rows that should have come between the newest one and the one before.
      whole: no row of the episode is missing so far, its first one neither.
    """

    def __init__(self) -> None:
        self.begins, self.missing, self.whole = False, 0, False
        self._due, self._episode = 0, -1

    def follow(self, row: StepRecord) -> None:
        """The next row."""
        self.missing, self._due = max(0, row.sequence - self._due), row.sequence + 1
        self.begins = row.is_first or row.episode != self._episode
        self._episode = row.episode
        self.whole = row.is_first if self.begins else self.whole and not self.missing

    def leave_out(self) -> None:
        """The newest row counts as missing after all."""
        self.whole = False
