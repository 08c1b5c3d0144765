"""Files of lines that a power cut or a person may have damaged: what can be read of them, and how many lines cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class LineReader(Generic[T]):
    """Yields what `read` makes of each line.

    Attributes:
      unreadable: lines so far that it made nothing of.
    """

    def __init__(self, read: Callable[[bytes], T]) -> None:
        self._read = read
        self.unreadable = 0

    def each(self, lines: Iterable[bytes]) -> Iterator[T]:
        for line in lines:
            try:
                found = self._read(line)
            except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
                self.unreadable += 1  # OverflowError: int(1e999); RecursionError: a line of many open brackets
            else:
                yield found
