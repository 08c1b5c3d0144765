"""The keys of a terminal, each the moment it is pressed and without the Enter key."""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import threading
from collections.abc import Callable
from types import TracebackType

_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[@-~]|O[A-Za-z])?")  # an arrow, a function key: not the letter at its end
_BEGUN = re.compile(r"\x1b(\[[0-9;?]*|O)?$")


class Strokes:
    """From bytes to keys: without the letters that arrows and function keys end with, even if these come in pieces."""

    def __init__(self) -> None:
        self._rest = ""

    def read(self, typed: bytes) -> str:
        """The keys that are complete. A space is always one, whatever is before it."""
        text = self._rest + typed.decode(errors="ignore")
        begun = _BEGUN.search(text)
        self._rest = begun[0] if begun else ""
        return _SEQUENCE.sub("", text[: len(text) - len(self._rest)])


class Keyboard:
    """Reads the terminal of stdin in a thread of its own while the `with` block runs, and leaves it as it was.

    Ctrl-C stays an interrupt; Ctrl-S does not freeze the display.

    Args:
      press: called with each key from that thread, so that no other work delays it. It must not wait.

    Attributes:
      gone: set when the terminal has ended.

    Raises:
      ValueError: stdin is no terminal.
    """

    def __init__(self, press: Callable[[str], None]) -> None:
        if not sys.stdin.isatty():
            raise ValueError("stdin: expected a terminal, for its keys; found none")
        self.gone = threading.Event()
        self._press = press
        self._strokes = Strokes()
        self._fd = sys.stdin.fileno()
        self._end, self._ended = os.pipe()
        self._thread = threading.Thread(target=self._read, name="keyboard", daemon=True)

    def __enter__(self) -> Keyboard:
        self._before = termios.tcgetattr(self._fd)
        mode = termios.tcgetattr(self._fd)
        mode[0] &= ~termios.IXON
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._fd, termios.TCSANOW, mode)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._ended, b"x")
        self._thread.join()
        os.close(self._end)
        os.close(self._ended)
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def _read(self) -> None:
        while self._end not in select.select([self._fd, self._end], [], [])[0]:
            try:
                typed = os.read(self._fd, 1024)
            except OSError:  # the terminal was hung up
                typed = b""
            if not typed:
                self.gone.set()
                return
            for key in self._strokes.read(typed):
                self._press(key)
