"""Room on the disk: a run that has none waits until somebody makes some. What only its memory holds is not lost."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path

LEAST = 64 << 20  # bytes: for what is written between two looks, beside a bundle
_FULL = (errno.ENOSPC, errno.EDQUOT)
_OF_SQLITE = "database or disk is full"


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk, or a used-up share of one, is behind an error: in it, or in one that it was raised from."""
    while error is not None:
        if (isinstance(error, OSError) and error.errno in _FULL) or _OF_SQLITE in str(error):
            return True
        error = error.__cause__
    return False


class Room:
    """Waits where a run writes.

    Args:
      folder: of the run.
      pause: waits a moment, in which it tells people and processes what it is given, in words.
      ended: whether the run is to end, so that nobody waits.

    Attributes:
      waited: seconds so far.
    """

    def __init__(self, folder: Path, pause: Callable[[str], None], ended: Callable[[], bool]) -> None:
        self._folder, self._pause, self._ended = folder, pause, ended
        self.waited = 0.0

    def wait(self, file: Path) -> None:
        """Until a copy of `file`, if it is there, and small files have room: what adds a line cannot take it back."""
        needed = LEAST + (file.stat().st_size if file.exists() else 0)
        while shutil.disk_usage(self._folder).free < needed and not self._ended():
            self._wait(f"{needed / 1e6:.0f} are the least")

    def write(self, write: Callable[[], object]) -> None:
        """Call what may be called again where it fails; as long as the disk is full, it is.

        Raises what it raises for another reason, or once the run is to end.
        """
        while True:
            try:
                write()
            except Exception as error:
                if self._ended() or not is_full(error):
                    raise
                self._wait(str(error))
            else:
                return

    def _wait(self, why: str) -> None:
        began, free = time.monotonic(), shutil.disk_usage(self._folder).free
        self._pause(f"waiting for room: make some on the disk of {self._folder}, {free / 1e6:.0f} MB are free: {why}")
        self.waited += time.monotonic() - began
