"""An ordinary bag of sensors and commands -> rows, by the rules of the policy node.

The bag's times are walked in control periods. Each episode begins with a command behind fresh messages of every sensor,
so that what a policy or a person did at the spec's rate falls into the same pairs of observation and action:

  tick    an observation is what the node's Observer would have sampled: newest messages, rewards since the last tick
  action  the command that is in force half a period after the tick, in the spec's limits
  last    terminal, or the spec's max_steps
  cut     a sensor is older than its max_age, a command older than COMMAND_AGE, the robot's clock jumps, or a message
          does not fit: the episode ends where it is
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.data.inspect import Inspection, bag_messages
from robot_dreamer.onboard.books import EpisodeBooks
from robot_dreamer.onboard.command_codec import CommandError, CommandReader
from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.onboard.observer import Observer
from robot_dreamer.record import INTERVENTION, StepRecord, reward_problem
from robot_dreamer.spec import ActionSpec, ExpressionFault, RobotSpec
from robot_dreamer.spec.safety import Safety

COMMAND_AGE = 0.5  # seconds, or so many periods, after which who commanded has stopped
_PERIODS = 1.5
_LIMIT_SLACK = 1e-3  # of the normalised action; float32 messages round


class RecordingSampler:
    """Walks the messages of one bag.

    Attributes:
      cuts: by reason; each ends an episode, if one is running.
      beyond_limits: rows whose command was outside the spec's limits (or no class) and was moved to the nearest.
      observer: for its counters of late messages and clock jumps.
    """

    def __init__(self, spec: RobotSpec, robot: str, boot: str) -> None:
        self.cuts: Counter[str] = Counter()
        self.beyond_limits = 0
        watched = spec.recorded[len(spec.observations) :]
        seen = msgspec.structs.replace(spec, watched=watched, safety=Safety())  # a bag needs only what rows are made of
        self.observer = Observer(seen, clock=lambda: self._now * 1e-9)
        self._books = EpisodeBooks(spec, robot, boot)
        self._readers = [(action, CommandReader(action)) for action in spec.actions]
        self._period = round(spec.period * 1e9)
        self._command_age = max(COMMAND_AGE, _PERIODS * spec.period)
        self._now = 0  # ns, the bag's time
        self._tick: int | None = None  # time of the next one; None: waiting for a command
        self._commanded = 0  # time of the newest command
        self._jumps = 0

    def feed(self, topic: str, command: bool, time: int, message: Any) -> Iterator[StepRecord]:
        """Take the next message of a topic, named as in the spec; yields the rows that end before it."""
        yield from self._advance(time)
        self._now = max(self._now, time)
        if not command:
            self.observer.receive(topic, message)
            return
        for action, reader in self._readers:
            if topic in action.command.topics:
                try:
                    reader.read(topic, message, time * 1e-9)
                except CommandError as error:
                    self._cut(str(error))
                    return
        self._commanded = time
        if self._tick is None and not self._silent() and not self.observer.missing():
            self._tick = time

    def finish(self) -> Iterator[StepRecord]:
        """The rows that the last messages lead to; no tick comes behind them."""
        yield from self._advance(self._now + 1)
        if self._books.observed:
            yield from self._advance(self._now + self._period // 2 + 1)

    def notes(self) -> Iterator[str]:
        """What was odd, in words."""
        for reason, count in self.cuts.most_common():
            yield f"cut {count} times: {reason}"
        if self.beyond_limits:
            yield f"{self.beyond_limits} commands were outside the spec's limits and were moved to the nearest inside"
        late = self.observer.counters()["late"]
        if late:
            yield f"{late} late messages were dropped, as the robot would have"

    def _advance(self, until: int) -> Iterator[StepRecord]:
        while self._tick is not None:
            waiting = self._books.observed  # a row, for its action
            due = self._tick + self._period // 2 if waiting else self._tick
            if due >= until:
                return
            self._now = due
            row = self._act() if waiting else self._observe()
            if row is not None:
                yield row

    def _observe(self) -> StepRecord | None:
        missing = self.observer.missing()
        if missing:
            self._cut(f"sensor stale: {missing[0].partition(' ')[0]}")
            return None
        try:
            sample = self._books.judge(self.observer.sample(begins=not self._books.running))
        except (ObservationError, ExpressionFault) as error:
            self._cut(str(error))
            return None
        if self.observer.clock_jumps != self._jumps:
            self._jumps = self.observer.clock_jumps
            self._cut("the robot's clock jumps")
            return None
        problem = reward_problem(sample.reward)
        if problem:
            self._cut(problem)
            return None
        if not self._books.running and sample.terminal:
            self._tick = None
            return None
        self._books.open(sample)
        if self._books.over:
            self._tick = None
            return self._books.close(INTERVENTION)
        return None

    def _act(self) -> StepRecord | None:
        assert self._tick is not None
        silent = self._silent()
        if silent:
            self._cut(f"commands silent: {', '.join(silent)}")
            return None
        action = {spec.name: self._normalised(spec, reader.command()) for spec, reader in self._readers}
        self._tick += self._period
        self._books.act(action, action, INTERVENTION)
        return self._books.applied(self._commanded)

    def _silent(self) -> list[str]:
        """Topics on which nobody commands any more, or has not yet: no row is made of what nobody commanded."""
        since = self._now * 1e-9 - self._command_age
        return [topic for _, reader in self._readers for topic in reader.silent(since)]

    def _normalised(self, spec: ActionSpec, command: NDArray[np.float64] | None) -> NDArray[Any]:
        assert command is not None  # no topic is silent
        found = spec.from_command(command)
        action = found if spec.discrete else np.clip(found, np.float32(-1), np.float32(1))
        again = spec.to_command(action)
        span = np.ptp(np.asarray(spec.values)) if spec.discrete else np.asarray(spec.high) - np.asarray(spec.low)
        self.beyond_limits += bool((np.abs(again - command) > _LIMIT_SLACK * span).any())
        return action

    def _cut(self, reason: str) -> None:
        self.cuts[reason] += 1
        self._tick = None
        self._books.abandon()


def sample_recording(
    bag: Path, sampler: RecordingSampler, inspection: Inspection, progress: Callable[[], None] = lambda: None
) -> Iterator[StepRecord]:
    """All rows of a bag that `inspect` has found usable."""
    for topic, time, message, _ in bag_messages(bag, inspection.topics):
        yield from sampler.feed(topic.name, topic.command, time, message)
        progress()
    yield from sampler.finish()
