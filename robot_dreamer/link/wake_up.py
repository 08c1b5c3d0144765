"""Wakes a thread that polls sockets, from another thread, at once."""

from __future__ import annotations

import contextlib
import os


class WakeUp:
    """A pipe: register `fd` with a poller. Neither end ever waits."""

    def __init__(self) -> None:
        self.fd, self._write_end = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_end, False)

    def ring(self) -> None:
        """Make `fd` readable."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full: it rings already
            os.write(self._write_end, b"!")

    def clear(self) -> None:
        """Call before looking for work, so that no ring is lost."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 4096):
                pass

    def close(self) -> None:
        """Call when no thread uses it any more."""
        os.close(self.fd)
        os.close(self._write_end)
