"""A thread that cannot die unseen."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

from robot_dreamer.link.errors import LinkError


class Worker:
    """Runs `body` in a thread; what it raises is kept and raised again by `check` and `stop`.

    Args:
      name: of the thread, for people.
      body: returns soon after `stopping` is set.
    """

    def __init__(self, name: str, body: Callable[[], None]) -> None:
        self.name = name
        self.stopping = threading.Event()
        self.error: BaseException | None = None
        self._body = body
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            self._body()
        except BaseException as error:
            self.error = error
            traceback.print_exception(error)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def fault(self) -> str:
        """Why the thread ended though nobody stopped it; empty while all is well."""
        return "" if self.error is None else f"{self.name} stopped: {type(self.error).__name__}: {self.error}"

    def check(self) -> None:
        """Raise LinkError if the thread died."""
        if self.error is not None:
            raise LinkError(self.fault) from self.error

    def stop(self, timeout: float) -> None:
        """Ask the thread to end and wait. Raises LinkError if it died or does not end in time."""
        self.stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if self._thread.is_alive():
            raise LinkError(f"{self.name} does not end within {timeout} s")
        self.check()
