"""How late a robot's sensors are, from recordings of it: the numbers that `simulation.delay.sensors` needs.

A message's lateness is the time of the bag, when a subscriber got it, less the stamp of its header, when it was
measured. Of the sensors that a policy waits for, the slowest counts. What a recording cannot say: how late commands
act, since no message tells when an actuator obeyed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.inspect import TopicFacts, bag_messages, missing_topics, needed_topics
from robot_dreamer.onboard.messages import stamp_of
from robot_dreamer.spec import RobotSpec

_LEAST, _MOST = 0.01, 0.99  # quantiles that stand for the ends of the jitter: single freaks do not count
_OTHER_CLOCK = 5.0  # s; what is later, or a millisecond early, was stamped by another clock
_EARLY = -1e-3
_PAUSE, _PERIODS = 1.0, 3  # s, or so many periods of the robot; a longer silence is no loss
_FEW = 20  # messages of which nothing can be said


@dataclass(frozen=True)
class Lateness:
    """Of one topic in one recording.

    Attributes:
      messages: how many had a stamp.
      seconds: least lateness (1st percentile).
      jitter: seconds from there to the 99th percentile.
      loss: share of messages that never came, by gaps between the stamps.
    """

    bag: Path
    topic: str
    messages: int
    seconds: float
    jitter: float
    loss: float


@dataclass(frozen=True)
class Fit:
    """Of all recordings. `topics`: each by itself; `unstamped`: topics without stamps, of which nothing can be said."""

    topics: list[Lateness]
    unstamped: list[str]

    def yaml(self) -> str:
        """The section of a RobotSpec. Least lateness differs from recording to recording as from episode to episode."""
        slowest = [max(t.seconds for t in self.topics if t.bag == bag) for bag in {t.bag for t in self.topics}]
        low, high = min(slowest), max(slowest)
        jitter, loss = max(t.jitter for t in self.topics), max(t.loss for t in self.topics)
        sensors = f"{{seconds: [{low:.4f}, {high:.4f}], jitter: {jitter:.4f}, loss: {loss:.4f}}}"
        return f"simulation:\n  delay:\n    sensors: {sensors}\n"


def fit(bags: Sequence[Path], spec: RobotSpec, namespace: str, progress: Callable[[], None] = lambda: None) -> Fit:
    """Measure ordinary bags of a robot.

    Raises:
      DataError: a topic of the spec's observations is missing, its stamps are of another clock, or none has any.
    """
    wanted = {o.source.topic for o in spec.observations if not o.source.hold}
    topics: list[Lateness] = []
    unstamped: dict[str, None] = {}
    for bag in bags:
        needed = {n: t for n, t in needed_topics(spec, namespace).items() if t.name in wanted and not t.command}
        problems = list(missing_topics(bag, needed))
        if problems:
            raise DataError("\n  ".join([f"{bag} does not fit the spec:", *problems]))
        for topic, pairs in _times(bag, needed, progress).items():
            if pairs:
                topics.append(_lateness(bag, topic, pairs, spec.period))
            else:
                unstamped[topic] = None
    if not topics:
        raise DataError(f"no message of {', '.join(unstamped)} has a stamp: nothing says how late they are")
    return Fit(topics, list(unstamped))


def _times(bag: Path, topics: dict[str, TopicFacts], progress: Callable[[], None]) -> dict[str, list[tuple[int, int]]]:
    """Time of the bag and stamp of each message that has one, ns."""
    found: dict[str, list[tuple[int, int]]] = {topic.name: [] for topic in topics.values()}
    for topic, time, message, _ in bag_messages(bag, topics):
        stamp = stamp_of(message)
        if stamp:
            found[topic.name].append((time, stamp))
        progress()
    return found


def _lateness(bag: Path, topic: str, pairs: list[tuple[int, int]], period: float) -> Lateness:
    if len(pairs) < _FEW:
        raise DataError(f"{bag}, topic {topic}: expected at least {_FEW} messages with a stamp, found {len(pairs)}")
    late = np.array([time - stamp for time, stamp in pairs]) * 1e-9
    least, middle, most = np.quantile(late, [_LEAST, 0.5, _MOST]).tolist()
    if least < _EARLY or middle > _OTHER_CLOCK:
        raise DataError(
            f"{bag}, topic {topic}: its messages came {middle:.3g} s after their stamps (the earliest {least:.3g} s): "
            "the clocks of robot and recorder differ, so nothing can be said; synchronise them, or record on the robot"
        )
    steps = np.diff(np.unique([stamp for _, stamp in pairs])) * 1e-9
    steps = steps[steps < max(_PAUSE, _PERIODS * period)]
    gaps = np.maximum(np.rint(steps / np.median(steps)) - 1, 0).sum() if len(steps) else 0.0
    return Lateness(bag, topic, len(pairs), max(0.0, least), most - max(0.0, least), float(gaps / (gaps + len(pairs))))
