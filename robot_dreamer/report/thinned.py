"""What grows for as long as a run goes on, as much of it as a page needs."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")
MOST = 2000  # entries; even, so that the one behind them is among every second one too


class Thinned(Generic[T]):
    """Keeps every entry; from MOST on every second one, then every fourth, …: evenly, and never more than MOST.

    Attributes:
      kept: in the order in which they came; the first is always among them.
      every: one in so many is kept.
    """

    def __init__(self) -> None:
        self.kept: list[T] = []
        self.every = 1
        self._seen = 0

    def add(self, entry: T) -> None:
        if self._seen % self.every == 0:
            if len(self.kept) == MOST:
                del self.kept[1::2]
                self.every *= 2
            self.kept.append(entry)
        self._seen += 1
