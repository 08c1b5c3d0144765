"""First look at an ordinary bag: has it what a spec needs, and can its times be trusted?

Refused:
  a topic is missing or empty, or has another type
  stamps and receive times of a topic run at different speeds (beyond TOLERANCE): they are of different clocks
  commands come less than half or more than twice as often as the spec's rate: actions would be invented or lost
Noted, and imported:
  sensors or commands beyond TOLERANCE of the spec's rate (values repeat, or the newest counts)
  stamps that go backwards, messages without a stamp
  values or pauses that alternate: two publishers on one topic
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from robot_dreamer.data.bags import decode, messages, open_bag
from robot_dreamer.data.errors import DataError
from robot_dreamer.data.interleave import Interleaving
from robot_dreamer.data.pace import Pace
from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.onboard.messages import Reader, make_reader, stamp_of
from robot_dreamer.spec import RobotSpec, Source
from robot_dreamer.spec.source import PICTURES

TOLERANCE = 0.1


@dataclass
class TopicFacts:
    """What a bag holds of one topic that the spec names. `command`: an action; else a sensor, reward or terminal.

    `source`: its first reader; None of a command.
    """

    name: str
    kind: str
    command: bool
    source: Source | None = None
    count: int = 0
    pace: Pace = field(default_factory=Pace)
    interleaving: Interleaving = field(default_factory=Interleaving)


@dataclass
class Inspection:
    """What a first pass found.

    Attributes:
      topics: by their name in the bag.
      problems: reasons to refuse; empty if there is none.
      notes: what is odd and imported all the same.
      digest: sha256 (hex) of all messages of these topics.
    """

    topics: dict[str, TopicFacts]
    problems: list[str]
    notes: list[str]
    digest: str


def needed_topics(spec: RobotSpec, namespace: str) -> dict[str, TopicFacts]:
    """The spec's topics by their full names, see `full_name`.

    Raises DataError where the spec spells one topic in two ways, or both reads and commands it.
    """
    sources = [o.source for o in spec.recorded] + list(spec.signals.values())
    wanted = [TopicFacts(s.topic, s.type, False, s, pace=Pace(spec.period)) for s in sources]
    for action in spec.actions:
        kind = action.command.type
        wanted += [TopicFacts(topic, kind, True, pace=Pace(spec.period)) for topic in action.command.topics]
    found: dict[str, TopicFacts] = {}
    for facts in wanted:
        name = full_name(facts.name, namespace)
        other = found.setdefault(name, facts)
        if (other.name, other.command) != (facts.name, facts.command):
            uses = " and ".join(f"{x.name} ({'commanded' if x.command else 'read'})" for x in (other, facts))
            raise DataError(
                f"topic {name}: the spec has it as {uses}: an import can tell neither which message is whose"
            )
    return found


def full_name(topic: str, namespace: str) -> str:
    """Of a topic as a spec writes it: without a leading slash it is below `namespace`."""
    prefix = f"/{namespace.strip('/')}/" if namespace.strip("/") else "/"
    return topic if topic.startswith("/") else prefix + topic


def bag_messages(bag: Path, topics: dict[str, TopicFacts]) -> Iterator[tuple[TopicFacts, int, Any, bytes]]:
    """(topic, receive time in ns, message, its bytes) of the given topics, in order of time."""
    with open_bag(bag) as reader:
        used = [c for c in reader.connections if c.topic in topics]
        for topic, time, data, kind in messages(reader, used):
            yield topics[topic], time, decode(reader, topic, data, kind), data


def count_messages(bag: Path, topics: dict[str, TopicFacts]) -> int:
    """Messages of the given topics."""
    with open_bag(bag) as reader:
        return sum(c.msgcount for c in reader.connections if c.topic in topics)


def inspect(bag: Path, spec: RobotSpec, namespace: str, progress: Callable[[], None] = lambda: None) -> Inspection:
    """Read a bag once. Raises DataError if it cannot be read."""
    topics = needed_topics(spec, namespace)
    problems = list(missing_topics(bag, topics))
    if problems:
        return Inspection(topics, problems, [], "")
    digest = hashlib.sha256()
    readers = {o.source.topic: make_reader(o.source) for o in spec.observations if o.source.type not in PICTURES}
    for topic, time, message, data in bag_messages(bag, topics):
        digest.update(f"{topic.name} {time} {len(data)} ".encode())
        digest.update(data)
        topic.count += 1
        topic.pace.add(time, None if topic.command else stamp_of(message))
        topic.interleaving.add(time, _numbers(readers.get(topic.name), message))
        progress()
    problems = [text for name, topic in topics.items() for text in _time_problems(name, topic, spec)]
    notes = [text for name, topic in topics.items() for text in _notes(name, topic, spec)]
    return Inspection(topics, problems, notes, digest.hexdigest())


def require_usable(bag: Path, inspection: Inspection) -> None:
    """Raise DataError that lists all reasons to refuse the bag, if there are any."""
    if inspection.problems:
        listed = "\n".join(f"  {problem}" for problem in inspection.problems)
        raise DataError(f"{bag} does not fit the spec:\n{listed}")


def missing_topics(bag: Path, topics: dict[str, TopicFacts]) -> Iterator[str]:
    """Reasons to refuse a bag that need no message read: topics that it lacks, or that have another type."""
    with open_bag(bag) as reader:
        found = {(c.topic, c.msgtype): c.msgcount for c in reader.connections}
    counts: dict[str, int] = {}
    for (name, _), count in found.items():
        counts[name] = counts.get(name, 0) + count
    for name, topic in topics.items():
        others = [kind for known, kind in found if known == name and kind != topic.kind]
        if not counts.get(name):
            held = ", ".join(sorted(counts)) or "none"
            yield f"topic {name} ({topic.kind}) has no messages; the bag's topics: {held} (see --namespace)"
        elif others:
            yield f"topic {name}: expected {topic.kind}, found {', '.join(others)}"


def _time_problems(name: str, topic: TopicFacts, spec: RobotSpec) -> Iterator[str]:
    rate = topic.pace.rate
    if topic.command and not 0.5 * spec.rate <= rate <= 2.0 * spec.rate:
        yield (
            f"topic {name}: commands come at {rate:.3g} Hz, the spec says {spec.rate:g} Hz: from a controller of "
            "another rate; change the rate in the spec"
        )
    held = topic.source is not None and topic.source.hold
    if abs(topic.pace.speed - 1.0) > TOLERANCE and not held:
        yield (
            f"topic {name}: its stamps run {topic.pace.speed:.3g} times as fast as the times of the bag: they are of "
            "different clocks (of a simulation record with: ros2 bag record --use-sim-time)"
        )


def _notes(name: str, topic: TopicFacts, spec: RobotSpec) -> Iterator[str]:
    if topic.source is not None and topic.source.hold:
        return
    rate = topic.pace.rate
    if rate < (1 - TOLERANCE) * spec.rate:
        yield f"topic {name}: {rate:.3g} Hz, slower than the spec's {spec.rate:g} Hz: values repeat"
    if topic.command and rate > (1 + TOLERANCE) * spec.rate:
        yield f"topic {name}: {rate:.3g} Hz, faster than the spec's {spec.rate:g} Hz: one command per row counts"
    if topic.pace.unstamped:
        yield f"topic {name}: {topic.pace.unstamped} messages have no stamp; the time of the bag stands in"
    if topic.pace.backwards:
        yield f"topic {name}: {topic.pace.backwards} stamps go backwards"
    signs = topic.interleaving.signs()
    if signs and not (topic.source is not None and topic.source.parts):
        yield (
            f"topic {name}: two streams interleave ({signs} alternate, {rate:.3g} Hz together): two nodes published "
            "it, and which one a row holds is chance"
        )


def _numbers(read: Reader | None, message: Any) -> NDArray[Any] | None:
    """What can be compared of a message; one that does not fit is the sampler's business."""
    if read is None:
        return None
    try:
        return read(message)
    except ObservationError:
        return None
