"""One topic: its latest message, and what the messages' stamps say about it.

no stamp (0)                  counted; it gets the time of its receipt on the ROS clock
the stamp of the one before   a repetition: counted, no sign of life. So a driver that sends old numbers goes stale
a slightly older stamp        late: counted, dropped
before a reset's first stamp  late, too, unless it is more than an hour before it: another clock's
a stamp that is suddenly      doubted: counted, dropped, unless the next message agrees; then the clock was set or began
ahead, or a second behind     again. One wrong stamp must not make the good ones behind it late
a much older stamp            the robot's clock began again: counted, accepted (in lockstep: any older stamp, at once)
a much newer stamp            the clock leapt, unless the topic had been silent: counted, accepted
a stamp long before now       the message was under way for so long: that counts in its age, unless it is more than an
                              hour, which says that the stamps are of another clock than ours
a stamp after now             their clock is ahead of ours: its age cannot be told, and is that since its receipt

A topic of events only (`onboard/judge.py`) is not judged in real time: whatever its stamps, each message is a new one,
unless it is from before a reset. One that is held (`Source.hold`) is not judged at all: its last message counts, over
resets too, however old it is.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from robot_dreamer.onboard.messages import stamp_of

_CLOCK_JUMP = 1_000_000_000  # ns
_OTHER_CLOCK = 3600.0  # seconds
_AHEAD = 0.1  # seconds that a stamp may be after now: clocks differ a little, and a simulated one goes in steps
_AGREE = 0.1  # seconds that two doubted messages may differ in how far they are ahead


class Verdict(enum.Enum):
    """What a message is; true for a new one."""

    NEW = "new"
    REPEATED = "repeated"
    LATE = "late"
    PAST = "from before a reset"
    DOUBTED = "doubted"
    FOREIGN = "of joints that nobody reads"

    def __bool__(self) -> bool:
        return self is Verdict.NEW


class Reading(NamedTuple):
    """A message. `received` is monotonic seconds, `stamp` ns, `offset` seconds from its stamp to its receipt."""

    message: Any
    stamp: int
    received: float
    offset: float


class Feed:
    """Latest-wins store of one topic. One thread accepts, one reads; they exchange references, never locks.

    Args:
      max_age: seconds; infinite: it is held.
      lockstep: see the module.
      clock: monotonic seconds.
      now: ns of the ROS clock; None: there is none that stamps can be compared with.
      tolerance: seconds that a stamp may be ahead of those before it without being doubted.
      events: see the module.
      synchronised: a message whose age cannot be told is stale.

    Attributes:
      latest: None before the first message.
      received, repeated, late, unstamped, doubted, jumps: messages, see the module.
      held: see the module.
    """

    def __init__(
        self,
        topic: str,
        max_age: float,
        lockstep: bool,
        clock: Callable[[], float],
        now: Callable[[], int] | None,
        tolerance: float = 0.03,
        events: bool = False,
        synchronised: bool = False,
    ) -> None:
        self.latest: Reading | None = None
        self.received = 0
        self.repeated = 0
        self.late = 0
        self.unstamped = 0
        self.doubted = 0
        self.jumps = 0
        self._topic = topic
        self._max_age = max_age
        self._lockstep = lockstep
        self._back = 0 if lockstep else _CLOCK_JUMP
        self.held = math.isinf(max_age)
        self._leap = max(1e9, 2e9 * max_age)
        self._clock = clock
        self._now = now
        self._tolerance = tolerance
        self._events = self.held or (events and not lockstep)
        self._synchronised = synchronised
        self._heard = -math.inf  # the last message, whatever its stamp
        self._newest = 0  # stamp, before `expect`
        self._first = 0  # see `expect`
        self._lead = 0.0  # how far stamps are ahead of their receipt when messages come without delay, seconds
        self._sure = False  # a second message has agreed with the first
        self._doubt: Reading | None = None

    def accept(self, message: Any) -> Verdict:
        """Take a message; a new one is `latest` then."""
        self.received += 1
        received = self._heard = self._clock()
        stamp = stamp_of(message)
        now = (self._now() if self._now is not None else 0) or round(received * 1e9)
        if not stamp:
            self.unstamped += 1
            stamp = now
        reading = Reading(message, stamp, received, (now - stamp) / 1e9)
        verdict = Verdict.NEW if self.held else self._judge(reading)
        if verdict:
            self.latest = reading
        return verdict

    def expect(self, first: int) -> None:
        """The robot was reset; its first message after that carries the stamp `first` (0: unknown) or a later one."""
        if self.held:
            return
        if self.latest is not None:
            self._newest = self.latest.stamp
        self._first = first

    def forget(self) -> None:
        """What came until now counts no more, unless it is held."""
        if not self.held:
            self.latest = None

    def age(self) -> float:
        """Seconds since the latest new message was made; infinite before the first."""
        latest = self.latest
        return math.inf if latest is None else self._clock() - latest.received + self._delay(latest)

    def unjudged(self) -> str:
        """Why the age of the latest message cannot be told, with the number; empty if it can, or need not."""
        latest = self.latest
        if latest is None or self._now is None or self._lockstep or self._events:
            return ""
        if -_AHEAD <= latest.offset < _OTHER_CLOCK:
            return ""
        where = "ahead of" if latest.offset < 0 else "behind"
        return f"{self._topic} (its stamps are {abs(latest.offset):.6g} s {where} our clock)"

    def complaint(self) -> str:
        """Why the latest message must not be used; empty if it may."""
        latest, now = self.latest, self._clock()
        if latest is None:
            return f"{self._topic} (no message yet)"
        silent, delay = now - latest.received, self._delay(latest)
        if silent + delay <= self._max_age:
            return self.unjudged() if self._synchronised else ""
        if silent > self._max_age:
            stuck = now - self._heard <= self._max_age
            text = f"its stamp has stood still for {silent:.1f} s" if stuck else f"silent for {silent:.1f} s"
        else:
            text = f"its stamp is {silent + delay:.1f} s old"
        return f"{self._topic} ({text}, allowed {self._max_age:g} s)"

    def _delay(self, reading: Reading) -> float:
        judged = self._now is not None and not self._events
        return reading.offset if judged and 0.0 < reading.offset < _OTHER_CLOCK else 0.0

    def _judge(self, reading: Reading) -> Verdict:
        last, stamp = self.latest, reading.stamp
        if not self._events and last is not None and stamp == last.stamp:
            self.repeated += 1
            return Verdict.REPEATED
        if self._first:
            if self._newest - self._back < stamp < self._first:
                if self._first - stamp < _OTHER_CLOCK * 1e9:
                    self.late += 1
                    return Verdict.PAST
                self._first = 0  # of another clock, to which the reset's stamp means nothing
            elif stamp < self._first:
                self.jumps += last is None
                self._first = 0
        if self._events:
            return Verdict.NEW
        if last is not None and not self._lockstep:
            verdict = self._doubt_or_order(reading, last)
            if not verdict:
                return verdict
        self._follow(-reading.offset, last is None)
        if last is not None:
            leapt = stamp - last.stamp > self._leap and reading.received - last.received <= self._max_age
            self.jumps += stamp <= last.stamp - self._back or leapt
        return Verdict.NEW

    def _doubt_or_order(self, reading: Reading, last: Reading) -> Verdict:
        """Whether a message may follow the last one, in real time."""
        stamp, lead = reading.stamp, -reading.offset
        doubt, self._doubt = self._doubt, None
        if lead - self._lead > self._tolerance or stamp <= last.stamp - self._back:
            agrees = doubt is not None and doubt.stamp < stamp and abs(-doubt.offset - lead) <= _AGREE
            if agrees:
                return Verdict.NEW
            self._doubt = reading
            self.doubted += 1
            return Verdict.DOUBTED
        if stamp > last.stamp:
            return Verdict.NEW
        if not self._sure and last.stamp - stamp > 1e9 * self._tolerance:
            self._lead = lead  # it was the very first one that was ahead
            return Verdict.NEW
        self.late += 1
        return Verdict.LATE

    def _follow(self, lead: float, first: bool) -> None:
        """Delayed messages are less ahead; a clock that is slower than ours falls behind slowly."""
        self._sure = not first
        beyond = first or lead > self._lead or lead < self._lead - _OTHER_CLOCK
        self._lead = lead if beyond else self._lead + 0.1 * (lead - self._lead)
