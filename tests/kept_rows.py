"""A store for tests that look at the rows a robot gives, and at nothing that a disk does to them."""

from __future__ import annotations

from robot_dreamer.link.store import AddResult
from robot_dreamer.record import StepRecord


class Rows:
    """A store that keeps rows in memory."""

    def __init__(self) -> None:
        self.kept: list[StepRecord] = []

    def add(self, rows: list[StepRecord]) -> AddResult:
        self.kept += rows
        return AddResult()
