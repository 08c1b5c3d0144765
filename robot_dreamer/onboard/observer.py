"""From topics to samples: the latest message of each sensor, and what rewarded or ended since the last sample.

Callbacks only store; conversion happens when a sample is taken, so a fast driver costs little. One thread receives and
one takes; they exchange references, never locks. What stamps say about messages is in `onboard/feed.py`, what
rewards and ends in `onboard/judge.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from robot_dreamer.onboard.controller import Sample
from robot_dreamer.onboard.encoding import ObservationError, encode_observation
from robot_dreamer.onboard.feed import Verdict
from robot_dreamer.onboard.feeds import make_feeds, types_of
from robot_dreamer.onboard.judge import Judge
from robot_dreamer.onboard.messages import make_reader
from robot_dreamer.spec import RobotSpec


class Observer:
    """The feeds of all topics that a spec names.

    Args:
      need_reward: without a reward or terminal topic there is no sample. False: a missing one means 0 and not terminal,
        and a reward that cannot be used 0, for a robot that does not learn.
      lockstep: any stamp that runs back is a robot that began again; otherwise a slightly older one is a late message.
      clock: monotonic seconds.
      now: ns of the ROS clock; 0 while a simulated clock has not been heard. None: there is none, as behind a bag; then
        stamps do not tell how old a message is.

    Attributes:
      topics: type by topic, for the subscriptions.
      needed: topics without which there is no sample.
      shared: topics that several nodes may publish, each some of the joints.
      held: topics whose last message counts, however old it is.
      stalled: samples with the stamp of the one before: the sensors are slower than the control loop, or stand still.
      worst_stall: most samples in a row with the stamp of the one before.
      contested: topics that there must be one source of and are several, with words; whoever knows it sets it.
      judge: the queue of rewards and terminals.
    """

    def __init__(
        self,
        spec: RobotSpec,
        need_reward: bool = True,
        lockstep: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], int] | None = None,
    ) -> None:
        self.stalled = 0
        self.worst_stall = 0
        self.contested: dict[str, str] = {}
        self._stall = 0
        self._stamp = -1  # of the last sample
        self._now = now
        self._observations = [(o, make_reader(o.source)) for o in spec.quantities]
        self.judge = Judge(spec, need_reward)
        sensors = [o.source for o in spec.quantities]
        sources = [*sensors, *self.judge.sources]
        self.topics = types_of(sources)
        self.needed = {s.topic for s in (sources if need_reward else sensors)}
        self.shared = {s.topic for s in sensors if s.parts}
        self._lockstep = lockstep
        self._feeds = make_feeds(spec, self.judge.sources, lockstep, clock, now)
        self.held = {topic for topic, feed in self._feeds.items() if feed.held}

    @property
    def clock_jumps(self) -> int:
        """Stamps that ran back or leapt."""
        return sum(feed.jumps for feed in self._feeds.values())

    def receive(self, topic: str, message: Any) -> None:
        """Store a message."""
        verdict = self._feeds[topic].accept(message)
        if topic not in self.judge.topics or verdict is Verdict.PAST:
            return
        if verdict or not self._lockstep:  # in lockstep a repeated set says the same once more
            self.judge.add(topic, message)

    def forget(self, first: int = 0) -> None:
        """Only what arrives from now on counts; of that, nothing with a stamp before `first` (see `expect`)."""
        self.expect(first)
        for feed in self._feeds.values():
            feed.forget()
        self.judge.clear()

    def expect(self, first: int) -> None:
        """The robot was reset: what has a stamp before `first` (ns; 0: unknown) is late."""
        for feed in self._feeds.values():
            feed.expect(first)

    def ages(self) -> dict[str, float]:
        """Seconds since the latest message of each topic was made; infinite before the first."""
        return {topic: feed.age() for topic, feed in self._feeds.items()}

    def offsets(self) -> dict[str, float]:
        """Seconds from the stamp of each topic's latest message to its receipt; negative: their clock is ahead."""
        readings = {topic: feed.latest for topic, feed in self._feeds.items()}
        return {topic: reading.offset for topic, reading in readings.items() if reading is not None}

    def unjudged(self) -> list[str]:
        """The topics whose messages may be of any age, for all that their stamps say, with the number."""
        return [text for feed in self._feeds.values() if (text := feed.unjudged())]

    def remarks(self) -> dict[str, str]:
        """What a person should be told once, by what it is about."""
        said = {
            f"unstamped {topic}": f"topic {topic}: its messages have no stamp; the time of their receipt counts"
            for topic, feed in self._feeds.items()
            if feed.unstamped
        }
        if self.judge.unused:
            said["reward"] = (
                f"the reward cannot be used and counts as 0, which matters to nobody here: {self.judge.problem}"
            )
        for text in self.unjudged():
            said[f"age {text.partition(' ')[0]}"] = f"the age of messages cannot be told: {text}"
        return said

    def counters(self) -> dict[str, int]:
        """What happened to messages, all topics together; and by topic, where something was wrong."""
        feeds = self._feeds
        counts = {"received": sum(f.received for f in feeds.values()), "clock_jumps": self.clock_jumps}
        counts |= {"stalled": self.stalled, "rewards_lost": self.judge.lost}
        counts |= {"rewards_unused": self.judge.unused}
        for kind in ("repeated", "late", "unstamped", "doubted"):
            by_topic = {f"{kind} {topic}": int(getattr(feed, kind)) for topic, feed in feeds.items()}
            counts[kind] = sum(by_topic.values())
            counts |= {name: n for name, n in by_topic.items() if n}
        return counts

    def stamps(self) -> dict[str, int]:
        """Latest stamp by topic, of those that have spoken."""
        return {topic: r.stamp for topic, feed in self._feeds.items() if (r := feed.latest) is not None}

    def common_stamp(self) -> int | None:
        """The stamp that the latest messages of all topics share, but for those that are held, or None; none while a
        topic is contested."""
        if self.contested:
            return None
        stamps = self.stamps()
        different = {stamp for topic, stamp in stamps.items() if topic not in self.held}
        return different.pop() if len(stamps) == len(self._feeds) and len(different) == 1 else None

    def missing(self) -> list[str]:
        """What is contested, and the needed topics whose latest message is too old, in words; empty: all is well."""
        if self._now is not None and not self._now():
            return ["/clock (no time yet, although use_sim_time is set)"]
        needed = [text for topic, feed in self._feeds.items() if topic in self.needed and (text := feed.complaint())]
        return [*(f"{name} ({problem})" for name, problem in self.contested.items()), *needed]

    def sample(self, begins: bool = False) -> Sample:
        """A sample of the latest messages; its stamp is the oldest of its observations, its reward the sum of all
        reward messages since the last call, and it is terminal if one message since then said so.

        Args:
          begins: it begins an episode: what ended before it ends nothing, and what was paid does not add up.

        Raises:
          ObservationError: a message does not have what the spec expects of its topic, or there is none; ask `missing`
            or `common_stamp` first.
        """
        if begins:
            self.judge.skip()
        reward, terminal = self.judge.take()
        observation, stamps = {}, []
        for spec, read in self._observations:
            reading = self._feeds[spec.source.topic].latest
            if reading is None:
                raise ObservationError(f"{spec.source.topic}: no message")  # joints that are others since `missing`
            observation[spec.name] = encode_observation(spec, read(reading.message))
            if not spec.source.hold:
                stamps.append(reading.stamp)
        stamp = min(stamps)
        self._stall = self._stall + 1 if stamp == self._stamp else 0
        self.stalled += bool(self._stall)
        self.worst_stall = max(self.worst_stall, self._stall)
        self._stamp = stamp
        return Sample(observation, reward, terminal, stamp)
