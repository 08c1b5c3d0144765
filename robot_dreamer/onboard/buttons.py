"""The buttons of the emergency stop: each has its own last word, its own silence, and its own end.

  a button says true                   a fault, each time, however short the press
  the last word of any of them is true  nobody can clear the fault
  one is silent for too long            as pressed, if silence counts
  one is gone that was there            a fault; if it was pressed, it stays so until a person has it forgotten
  one speaks another language           a fault as long as it is there: nobody would hear it

A press is an event and never waits in a place where a later word could replace it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from robot_dreamer.onboard.guard import Fault, Guard

_REMEMBERED = 256  # words of a button by which one that comes twice is known
_LATE = 1_000_000_000  # ns that a word may come after a later one, by another way
_DISCOVERY = 1.0  # seconds until the graph knows, as a rule, who has spoken
_NOBODY = "a button of an unknown node"
_FORGET = "make sure that it is released, then call ~/forget_e_stop"
PRESSED = "the emergency stop is pressed (topic e_stop)"


@dataclass(slots=True)
class _Button:
    since: float  # monotonic seconds, of its first word or discovery
    heard: float  # of its last word
    name: str = ""  # of its node; empty: not known
    spoke: bool = False
    pressed: bool = False
    there: bool = False  # the graph knows it
    known: bool = False  # the graph has known it
    newest: int = -1  # stamp of the word that counts
    words: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


class Buttons:
    """All publishers of the stop's topic. Any thread may call anything: nobody holds the lock for long, and the control
    loop does not take it.

    A button is known by its publisher's identity. Where the middleware does not tell it (None), all of them are one,
    and while there are several its false releases nothing.

    Args:
      timeout: seconds of silence of any button that count as pressed, as does that none has spoken yet; 0: they may
        be silent.

    Attributes:
      presses: heard so far.
    """

    def __init__(self, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.presses = 0
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.RLock()
        self._guard: Guard | None = None
        self._waiting = ""  # a press before there was a guard
        self._buttons: dict[Hashable, _Button] = {}
        self._publishers: set[Hashable] = set()
        self._foreign = ""  # complaint about publishers that cannot be heard
        self._heard: float | None = None  # the last word of anybody

    @property
    def pressed(self) -> bool:
        """The last word of a button is true."""
        with self._lock:
            return any(b.pressed for b in self._buttons.values())

    def attach(self, guard: Guard | None) -> None:
        """Whom to tell; None: there is nobody to be stopped now. A press that nobody was told of latches then, and so
        does one that nobody has cleared: a node that is configured anew is no person.
        """
        with self._lock:
            left = self._guard.fault if self._guard is not None else None
            if left is not None and left.rule == "e_stop":
                self._waiting = self._waiting or left.reason
            self._guard = guard
            if guard is not None and self._waiting:
                self.press(self._waiting)
                self._waiting = ""
            self.poll()

    def press(self, reason: str) -> Fault | None:
        """Latch. Returns the fault that is latched; None: there is no guard yet, the first one will be told."""
        with self._lock:
            if self._guard is not None:
                return self._guard.latch("e_stop", reason)
            self._waiting = self._waiting or reason
            return None

    def hear(self, source: Hashable | None, stamp: int, pressed: bool) -> None:
        """A word of a button. It may come again by another way, also after a later one.

        Args:
          source: the publisher; None: not known.
          stamp: when the word was spoken, ns on its own clock; equal for the same word only.
        """
        with self._lock:
            now = self._heard = self._clock()
            button = self._buttons.setdefault(source, _Button(now, now))
            button.heard, button.spoke = now, True
            if stamp in button.words:
                return
            button.words.append(stamp)
            if pressed:
                self.presses += 1
                self.press(PRESSED)
            # Farther back its clock was set. That is believed of a press alone: an old release may be of its history.
            if stamp < button.newest and not (pressed and stamp <= button.newest - _LATE):
                return
            button.newest = stamp
            if pressed or source is not None or len(self._publishers) <= 1:
                button.pressed = pressed

    def look(self, publishers: Mapping[Hashable, str], foreign: str = "") -> None:
        """What the graph shows now.

        Args:
          publishers: node by identity; empty: not known yet.
          foreign: complaint about publishers of another type; empty if there are none.
        """
        with self._lock:
            self._foreign, self._publishers = foreign, set(publishers)
            now = self._clock()
            for source, name in publishers.items():
                button = self._buttons.setdefault(source, _Button(now, now))
                button.name, button.there, button.known = name or button.name, True, True
            for source, button in list(self._buttons.items()):
                if not button.there or source in publishers:
                    continue
                button.there = False
                if not button.pressed:
                    del self._buttons[source]
                was_there = button.spoke or now - button.since >= _DISCOVERY  # others were about to go when we came
                if was_there and self._guard is not None:
                    self.press(f"a button is gone: node {button.name or 'unknown'} no longer publishes topic e_stop")
            self.poll()

    def poll(self) -> None:
        """Latch as long as something forbids clearing. Call it often: it notices silence."""
        with self._lock:
            problem = self.problem()
            if problem and self._guard is not None:
                self._guard.latch("e_stop", problem)

    def problem(self) -> str:
        """Why a fault must not be cleared; empty if it may."""
        with self._lock:
            held = [b for b in self._buttons.values() if b.pressed]
            if not all(map(self._vanished, held)):
                return PRESSED
            if held:
                gone = ", ".join(sorted(b.name or _NOBODY for b in held))
                return f"the emergency stop was pressed by a button that is gone ({gone}); {_FORGET}"
            return self._foreign or (self._silence() if self._timeout else "")

    def clear(self) -> Fault | None:
        """Clear what the guard has latched, whatever the rule. No press comes between the look at the buttons and this.

        Raises:
          ValueError: a button forbids it; says why.
        """
        with self._lock:
            problem = self.problem()
            if problem:
                raise ValueError(problem)
            return self._guard.clear() if self._guard is not None else None

    def forget(self) -> str:
        """A person has made sure that the buttons that are gone are not pressed. Returns what was forgotten, in words.

        Raises:
          ValueError: it may still be there.
        """
        with self._lock:
            gone = {s: b for s, b in self._buttons.items() if b.pressed and not b.there}
            if not all(map(self._vanished, gone.values())) and self._publishers:
                there = sorted(self._buttons[s].name for s in self._publishers)
                raise ValueError(f"the pressed button may be one of those that are there: {', '.join(there)}")
            for source in gone:
                del self._buttons[source]
            return ", ".join(sorted(b.name or _NOBODY for b in gone.values()))

    def _vanished(self, button: _Button) -> bool:
        """Not there, and not just undiscovered, or known by another identity than the graph's."""
        matching = any(b.known and b.spoke for b in self._buttons.values())
        undiscovered = not matching or self._clock() - button.heard < _DISCOVERY
        return not button.there and (button.known or not undiscovered)

    def _silence(self) -> str:
        if self._heard is None:
            return "topic e_stop has not spoken yet"
        spoke = [b for b in self._buttons.values() if b.spoke]
        unmatched = any(not b.known for b in spoke)  # then those that never spoke may be the same ones
        judged = spoke if unmatched else list(self._buttons.values())
        heard = min((b.heard for b in judged), default=self._heard)
        silent = self._clock() - heard
        if silent <= self._timeout:
            return ""
        names = ", ".join(sorted(b.name for b in judged if b.heard == heard)) if len(judged) > 1 else ""
        return f"topic e_stop is silent for {silent:.1f} s, allowed {self._timeout:g} s" + (f" ({names})" * bool(names))
