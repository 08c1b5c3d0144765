"""The page about a run in a browser on this machine, made anew while the run goes on. Nothing else can be read."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from robot_dreamer.report.page import render
from robot_dreamer.report.run_files import NoRun, read_run

HOST = "127.0.0.1"
KEPT = 5.0  # s for which a page is given again before it is made anew
REFRESH = 15  # s after which a browser asks again, while the run goes on
_PLACES = ("/", "/report.html")
_NAMES = (HOST, "localhost")


class ReportServer(ThreadingHTTPServer):
    """Serves one page, made from a log directory, at / on loopback; `serve_forever` and `shutdown` as usual.

    Whoever asks under another host name is refused, so that no page from outside can read it through a browser.

    Args:
      logdir: of a run. Raises NoRun at once if it is none.
      port: 0: any free one, see `url`.
    """

    daemon_threads = True

    def __init__(self, logdir: Path, port: int = 0) -> None:
        read_run(logdir)
        super().__init__((HOST, port), _Handler)
        self._logdir, self._lock = logdir, threading.Lock()
        self._page, self._over, self._made = b"", False, -KEPT

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    def page(self) -> tuple[bytes, bool]:
        """The page, and whether the run is over. Raises NoRun if the log directory is gone."""
        with self._lock:
            if time.monotonic() - self._made >= KEPT:
                files = read_run(self._logdir)
                self._page = render(files).encode()
                self._over = files.status is not None and files.status.over
                self._made = time.monotonic()
            return self._page, self._over


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version, sys_version = "robot_dreamer", ""

    def do_GET(self) -> None:
        """The page, or a refusal."""
        if self.headers.get("Host", "").partition(":")[0] not in _NAMES:  # port 80 is not said
            self.send_error(403, explain="ask for it as localhost")
            return
        if self.path not in _PLACES:
            self.send_error(404, explain="there is one page here: /")
            return
        try:
            page, over = self.server.page()
        except NoRun as error:
            self.send_error(410, explain=str(error))
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.send_header(
            "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
        )
        if not over:
            self.send_header("Refresh", str(REFRESH))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody wants to read of each refresh."""
