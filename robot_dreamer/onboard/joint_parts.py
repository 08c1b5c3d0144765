"""One topic on which several nodes publish joint states, each of some of the joints (`Source.parts`).

Each set of joints is a feed of its own, so that what stamps say is judged for each node; a sample is made of the
latest message of all of them. Two nodes that show one joint are an error, as two on an ordinary topic are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from robot_dreamer.onboard.feed import Feed, Reading, Verdict

_COUNTS = ("repeated", "late", "unstamped", "doubted", "jumps")


@dataclass(frozen=True, slots=True)
class JointsTogether:
    """What the messages of all parts say, read as one JointState; NaN where a part left a field empty."""

    name: list[str] = field(default_factory=list)
    position: list[float] = field(default_factory=list)
    velocity: list[float] = field(default_factory=list)
    effort: list[float] = field(default_factory=list)


class JointParts:
    """Has the interface of a `Feed`.

    Args:
      names: of all joints that are read from the topic.
      max_age: seconds.
      make: a feed of this topic; one for each set of joints.
      clock: monotonic seconds.
    """

    held = False

    def __init__(
        self, topic: str, names: Sequence[str], max_age: float, make: Callable[[], Feed], clock: Callable[[], float]
    ) -> None:
        self.received = 0
        self._topic, self._names = topic, tuple(names)
        self._max_age = max_age
        self._make, self._clock = make, clock
        self._feeds: dict[frozenset[str], Feed] = {}  # replaced and never changed: one thread accepts, one reads
        self._gone = dict.fromkeys(_COUNTS, 0)  # of feeds that were replaced
        self._first = 0
        self._twice, self._twice_at = "", -math.inf  # two nodes show a joint, in words, and when that was seen

    def __getattr__(self, count: str) -> int:
        """The counts of `Feed`, of all parts together."""
        if count not in _COUNTS:
            raise AttributeError(count)
        counted: int = self._gone[count] + sum(getattr(feed, count) for feed in self._feeds.values())
        return counted

    @property
    def latest(self) -> Reading | None:
        """All joints as of the oldest part; None before all have spoken."""
        readings = [reading for feed in self._feeds.values() if (reading := feed.latest) is not None]
        together = JointsTogether()
        for reading in readings:
            count = len(reading.message.name)
            together.name.extend(reading.message.name)
            for column in ("position", "velocity", "effort"):
                numbers = list(getattr(reading.message, column))
                getattr(together, column).extend(numbers if len(numbers) == count else [math.nan] * count)
        if not set(self._names) <= set(together.name):
            return None
        oldest = min(readings, key=lambda reading: reading.stamp)
        return oldest._replace(message=together)

    def accept(self, message: Any) -> Verdict:
        """Take a message of any of the joints."""
        self.received += 1
        part = frozenset(name for name in self._names if name in message.name)
        if not part:
            return Verdict.FOREIGN
        feed = self._feeds.get(part)
        if feed is None:
            feed = self._make()
            feed.expect(self._first)
            self._place(part, feed)
        return feed.accept(message)

    def expect(self, first: int) -> None:
        """As of a `Feed`."""
        self._first = first
        for feed in self._feeds.values():
            feed.expect(first)

    def forget(self) -> None:
        """As of a `Feed`."""
        for feed in self._feeds.values():
            feed.forget()

    def age(self) -> float:
        """Of the oldest part, seconds; infinite before all have spoken."""
        return math.inf if self._silent() else max(feed.age() for feed in self._feeds.values())

    def unjudged(self) -> str:
        """As of a `Feed`: the first part whose age cannot be told."""
        return next(filter(None, (feed.unjudged() for feed in self._feeds.values())), "")

    def complaint(self) -> str:
        """Why the latest messages must not be used; empty if they may."""
        if self._clock() - self._twice_at <= self._max_age:
            return f"{self._topic} ({self._twice})"
        if silent := self._silent():
            return f"{self._topic} (no message yet of {', '.join(silent)})"
        for part, feed in self._feeds.items():
            if complaint := feed.complaint():
                return f"{complaint}, for {', '.join(sorted(part))}"
        return ""

    def _silent(self) -> list[str]:
        spoken = {name for part, feed in self._feeds.items() if feed.latest is not None for name in part}
        return [name for name in self._names if name not in spoken]

    def _place(self, part: frozenset[str], feed: Feed) -> None:
        """A new set of joints takes the place of those that it overlaps."""
        kept = {}
        for other, known in self._feeds.items():
            if not part & other:
                kept[other] = known
                continue
            if known.age() <= self._max_age:
                self._twice = f"two nodes show {', '.join(sorted(part & other))}: each joint must come from one"
                self._twice_at = self._clock()
            for count in _COUNTS:
                self._gone[count] += getattr(known, count)
        self._feeds = {**kept, part: feed}
