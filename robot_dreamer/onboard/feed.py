"""One topic: its latest message, and what the messages' stamps say about it.

no stamp (0)                  counted; it gets the time of its receipt on the ROS clock
the stamp of the one before   a repetition: counted, no sign of life. So a driver that sends old numbers goes stale
a slightly older stamp        late: counted, dropped
before a reset's first stamp  late, too
a much older stamp            the robot's clock began again: counted, accepted (in lockstep: any older stamp)
a much newer stamp            the clock leapt, unless the topic had been silent: counted, accepted
a stamp long before now       the message was under way for so long: that counts in its age, unless it is more than an
                              hour, which says that the stamps are of another clock than ours
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from robot_dreamer.onboard.messages import stamp_of

_CLOCK_JUMP = 1_000_000_000  # ns
_OTHER_CLOCK = 3600.0  # seconds


class Reading(NamedTuple):
    """A message. `received` is monotonic seconds, `stamp` ns, `delay` seconds from its stamp to its receipt."""

    message: Any
    stamp: int
    received: float
    delay: float


class Feed:
    """Latest-wins store of one topic. One thread accepts, one reads; they exchange references, never locks.

    Args:
      max_age: seconds.
      lockstep: see the module.
      clock: monotonic seconds.
      now: ns of the ROS clock; None: there is none that stamps can be compared with.

    Attributes:
      latest: None before the first message.
      received, repeated, late, unstamped, jumps: messages, see the module.
    """

    def __init__(
        self, topic: str, max_age: float, lockstep: bool, clock: Callable[[], float], now: Callable[[], int] | None
    ) -> None:
        self.latest: Reading | None = None
        self.received = 0
        self.repeated = 0
        self.late = 0
        self.unstamped = 0
        self.jumps = 0
        self._topic = topic
        self._max_age = max_age
        self._back = 0 if lockstep else _CLOCK_JUMP
        self._leap = max(_CLOCK_JUMP, round(2e9 * max_age))
        self._clock = clock
        self._now = now
        self._heard = -math.inf  # the last message, whatever its stamp
        self._newest = 0  # stamp, before `expect`
        self._first = 0  # see `expect`

    def accept(self, message: Any) -> bool:
        """Take a message; False if it is not a new one."""
        self.received += 1
        received = self._heard = self._clock()
        stamp = stamp_of(message)
        now = stamp if self._now is None else self._now()
        if not stamp:
            self.unstamped += 1
            stamp = now or round(received * 1e9)
        if not self._judge(stamp, received):
            return False
        delay = (now - stamp) / 1e9  # negative: their clock is ahead of ours
        self.latest = Reading(message, stamp, received, delay if 0.0 < delay < _OTHER_CLOCK else 0.0)
        return True

    def expect(self, first: int) -> None:
        """The robot was reset; its first message after that carries the stamp `first` (0: unknown) or a later one."""
        if self.latest is not None:
            self._newest = self.latest.stamp
        self._first = first

    def age(self) -> float:
        """Seconds since the latest new message was made; infinite before the first."""
        latest = self.latest
        return math.inf if latest is None else self._clock() - latest.received + latest.delay

    def complaint(self) -> str:
        """Why the latest message must not be used; empty if it may."""
        latest, now = self.latest, self._clock()
        if latest is None:
            return f"{self._topic} (no message yet)"
        silent = now - latest.received
        if silent + latest.delay <= self._max_age:
            return ""
        if silent > self._max_age:
            stuck = now - self._heard <= self._max_age
            text = f"its stamp has stood still for {silent:.1f} s" if stuck else f"silent for {silent:.1f} s"
        else:
            text = f"its stamp is {silent + latest.delay:.1f} s old"
        return f"{self._topic} ({text}, allowed {self._max_age:g} s)"

    def _judge(self, stamp: int, received: float) -> bool:
        last = self.latest
        if last is not None and stamp == last.stamp:
            self.repeated += 1
            return False
        if self._first:
            if self._newest - self._back < stamp < self._first:
                self.late += 1
                return False
            self.jumps += last is None and stamp < self._first
            self._first = 0
        if last is None:
            return True
        if last.stamp - self._back < stamp < last.stamp:
            self.late += 1
            return False
        leapt = stamp - last.stamp > self._leap and received - last.received <= self._max_age
        self.jumps += stamp < last.stamp or leapt
        return True
