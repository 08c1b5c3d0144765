"""The live display of a run: a panel in a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live

from robot_dreamer.report.console import plain_console
from robot_dreamer.report.history import EpisodeReader
from robot_dreamer.report.panel import Snapshot, line, panel
from robot_dreamer.run_status import read_status

REFRESH = 0.5  # s between two looks, in a terminal
LINE_PERIOD = 10.0  # s between two lines, elsewhere


class Display:
    """Shows status.json and episodes.jsonl of `logdir` while the `with` block runs; reads only, in a thread.

    Args:
      logdir: of the run; need not exist yet.
      console: where to print.
      began: time.monotonic() when the run that is shown began; what is older is said to be another run's. Default: now.
    """

    def __init__(self, logdir: Path, console: Console | None = None, began: float | None = None) -> None:
        self._logdir = logdir
        self._console = console or plain_console()
        self._episodes = EpisodeReader(logdir / "episodes.jsonl")
        self._began = time.monotonic() if began is None else began
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)

    def __enter__(self) -> Display:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def _look(self) -> Snapshot:
        try:
            status = read_status(self._logdir)
        except ValueError:  # of another version, or lost with the power: the run that begins now writes its own
            status = None
        return Snapshot(self._logdir, status, [e.total for e in self._episodes.read()], time.monotonic(), self._began)

    def _run(self) -> None:
        if not self._console.is_terminal:
            while not self._stop.wait(LINE_PERIOD):
                print(line(self._look()), file=self._console.file, flush=True)
            print(line(self._look()), file=self._console.file, flush=True)
            return
        with Live(panel(self._look()), console=self._console, auto_refresh=False) as live, _log_above():
            while not self._stop.wait(REFRESH):
                live.update(panel(self._look()), refresh=True)
            live.update(panel(self._look()), refresh=True)


@contextmanager
def _log_above() -> Iterator[None]:
    """Let log lines appear above the panel: rich redirects sys.stderr, but a log handler holds the old one."""
    handlers = [
        h for h in logging.getLogger().handlers if isinstance(h, logging.StreamHandler) and h.stream is sys.__stderr__
    ]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(sys.__stderr__)
