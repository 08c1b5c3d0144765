"""The signals that end a program: an interrupt, a service manager's wish, a terminal that was closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def ended_by(handler: Callable[[int, Any], object] | signal.Handlers) -> Iterator[None]:
    """These signals call `handler` meanwhile, or are ignored with SIG_IGN; a closed terminal is where `nohup` says so.

    A closed terminal is one wish, although its programs hear of it twice: its shell tells them, and the kernel does
    when the shell ends. Outside the main thread, which alone may handle signals, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def closed(number: int, frame: Any) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if callable(handler):
            handler(number, frame)

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, closed)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
