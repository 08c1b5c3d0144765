"""From topics to samples: the latest message of each topic, its stamp and age, and the rewards since the last sample.

Callbacks only store; conversion happens when a sample is taken, so a fast driver costs little. One thread receives and
one takes; they exchange references, never locks.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from robot_dreamer.onboard.controller import Sample
from robot_dreamer.onboard.encoding import ObservationError, encode_observation
from robot_dreamer.spec import RobotSpec, Source
from ros_nodes.messages import make_reader, stamp_of

_CLOCK_JUMP = 1_000_000_000  # ns; a stamp that much older is not late: the robot's clock began again
_MAX_REWARDS = 10_000  # between two samples


class Reading(NamedTuple):
    """The latest message of a topic; `received` is monotonic seconds, `stamp` ns of the header."""

    message: Any
    stamp: int
    received: float


class Observer:
    """Latest-wins store of all topics that a spec names.

    Args:
      need_reward: without a reward or terminal topic there is no sample. False: a missing one means 0 and not terminal,
        for a robot that does not learn.
      lockstep: any stamp that runs back is a robot that began again; otherwise a slightly older one is a late message.
      clock: monotonic seconds.

    Attributes:
      topics: type by topic, for the subscriptions.
      received, late, clock_jumps: messages; those dropped because a newer one was there; stamps that ran back, or
        forward by more than a second (or twice max_age) although the topic was not silent.
      repeated: samples with the stamp of the one before: the sensors are slower than the control loop, or stalled.
    """

    def __init__(
        self,
        spec: RobotSpec,
        need_reward: bool = True,
        lockstep: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.received = 0
        self.late = 0
        self.clock_jumps = 0
        self.repeated = 0
        self._stamp = -1  # of the last sample
        self._clock = clock
        self._jump = 0 if lockstep else _CLOCK_JUMP
        self._observations = [(o, make_reader(o.source)) for o in spec.quantities]
        self._reward, self._read_reward = spec.reward, make_reader(spec.reward)
        self._terminal, self._read_terminal = spec.terminal, make_reader(spec.terminal or spec.reward)
        judges = [s for s in (spec.reward, spec.terminal) if s is not None]
        sensors = [o.source for o in spec.quantities]
        self.topics = _topics([*sensors, *judges])
        self._max_age: dict[str, float] = {}
        for source in [*sensors, *(judges if need_reward else [])]:
            self._max_age[source.topic] = min(source.max_age, self._max_age.get(source.topic, source.max_age))
        self._latest: dict[str, Reading] = {}
        self._rewards: deque[Any] = deque(maxlen=_MAX_REWARDS)  # append and popleft are atomic

    def receive(self, topic: str, message: Any) -> None:
        """Store a message."""
        self.received += 1
        stamp = stamp_of(message)
        last = self._latest.get(topic)
        if last is not None and stamp < last.stamp:
            if last.stamp - stamp < self._jump:
                self.late += 1
                return
            self.clock_jumps += 1
        elif last is not None and self._leapt(topic, last, stamp):
            self.clock_jumps += 1
        if topic == self._reward.topic and (last is None or stamp != last.stamp):
            self._rewards.append(message)
        self._latest[topic] = Reading(message, stamp, self._clock())

    def forget(self) -> None:
        """Only what arrives from now on counts."""
        self._latest.clear()
        self._rewards.clear()

    def ages(self) -> dict[str, float]:
        """Seconds since the latest message of each topic; infinite before the first."""
        latest, now = self._latest.copy(), self._clock()
        return {topic: now - latest[topic].received if topic in latest else math.inf for topic in self.topics}

    def common_stamp(self) -> int | None:
        """The stamp that the latest messages of all topics share, or None."""
        latest = self._latest
        if len(latest) < len(self.topics):
            return None
        stamps = {reading.stamp for reading in latest.values()}
        return stamps.pop() if len(stamps) == 1 else None

    def stamps(self) -> dict[str, int]:
        """Latest stamp by topic."""
        return {topic: reading.stamp for topic, reading in self._latest.copy().items()}

    def missing(self) -> list[str]:
        """The needed topics that were silent for longer than their max_age, in words; empty: a sample can be taken."""
        now = self._clock()
        complaints = []
        for topic, max_age in self._max_age.items():
            reading = self._latest.get(topic)
            if reading is None:
                complaints.append(f"{topic} (no message yet)")
            elif now - reading.received > max_age:
                complaints.append(f"{topic} (silent for {now - reading.received:.1f} s, allowed {max_age:g} s)")
        return complaints

    def _leapt(self, topic: str, last: Reading, stamp: int) -> bool:
        max_age = self._max_age.get(topic, 0.0)
        silent = self._clock() - last.received > max_age
        return not silent and stamp - last.stamp > max(_CLOCK_JUMP, round(2e9 * max_age))

    def sample(self) -> Sample:
        """A sample of the latest messages; its stamp is the oldest of its observations, its reward the sum of all
        reward messages since the last call.

        Raises:
          ObservationError: a message does not have what the spec expects of its topic.
          KeyError: a topic is missing; ask `missing` or `common_stamp` first.
        """
        reward = 0.0
        while self._rewards:
            reward += float(self._read_reward(self._rewards.popleft())[0])
        terminal = False
        if self._terminal is not None and (reading := self._latest.get(self._terminal.topic)) is not None:
            value = float(self._read_terminal(reading.message)[0])
            if value != value:
                raise ObservationError(f"topic {self._terminal.topic}: terminal: expected a number, found nan")
            terminal = value > 0.5
        observation, stamps = {}, []
        for spec, read in self._observations:
            reading = self._latest[spec.source.topic]
            observation[spec.name] = encode_observation(spec, read(reading.message))
            stamps.append(reading.stamp)
        stamp = min(stamps)
        self.repeated += stamp == self._stamp
        self._stamp = stamp
        return Sample(observation, reward, terminal, stamp)


def _topics(sources: list[Source]) -> dict[str, str]:
    topics: dict[str, str] = {}
    for source in sources:
        known = topics.setdefault(source.topic, source.type)
        if known != source.type:
            raise ValueError(f"topic {source.topic}: the spec names two types, {known} and {source.type}")
    return topics
