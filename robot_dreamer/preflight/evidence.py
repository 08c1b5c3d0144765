"""What a robot has said while it was listened to, live or in a bag: the ground that findings stand on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.data.interleave import Interleaving
from robot_dreamer.data.pace import Pace
from robot_dreamer.onboard.command_codec import CommandError, CommandReader
from robot_dreamer.onboard.encoding import ObservationError, encode_observation
from robot_dreamer.onboard.feeds import make_feeds
from robot_dreamer.onboard.joint_parts import JointParts
from robot_dreamer.onboard.messages import Reader, make_reader, stamp_of
from robot_dreamer.spec import ObservationSpec, RobotSpec, Source
from robot_dreamer.spec.source import DISTANCES, FIELDS, IMU, JOINT_STATE

MOST = (
    100_000  # messages of a topic whose times and numbers are kept; later ones are read, counted and judged one by one
)
_PICTURE_EVERY = 400_000_000  # ns between two pictures that are looked at: they are large


@dataclass
class Stream:
    """One topic.

    Attributes:
      ages: seconds from stamp to receipt, of messages with a stamp.
      stamps: ns, as they came.
      received: ns, of all messages.
      frames: frame_id of the headers, and how often.
    """

    topic: str
    kind: str
    source: Source | None  # its first reader; None of a command
    pace: Pace
    max_age: float = math.inf  # seconds, the lowest of all who read it
    count: int = 0
    interleaving: Interleaving = field(default_factory=Interleaving)
    ages: list[float] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    frames: Counter[str] = field(default_factory=Counter)

    def add(self, message: Any, received: int) -> None:
        """A message and when it came, ns."""
        self.count += 1
        stamp = stamp_of(message)
        self.pace.add(received, stamp)
        header = getattr(message, "header", None)
        self.frames[header.frame_id if header is not None else ""] += 1
        if len(self.received) < MOST:
            self.received.append(received)
        if stamp and len(self.stamps) < MOST:
            self.stamps.append(stamp)
            self.ages.append((received - stamp) / 1e9)

    @property
    def step(self) -> float:
        """Seconds from a message to the next one, usually; 0 of fewer than two."""
        return float(np.median(np.diff(self.received))) / 1e9 if len(self.received) > 1 else 0.0


@dataclass
class Track:
    """Vectors over time.

    Attributes:
      times: seconds, by the stamps where there are any.
      broken: vectors that were left out, because a number was not finite; see `add_finite`.
    """

    names: tuple[str, ...]
    unit: str = ""
    times: list[float] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    broken: int = 0

    def add(self, time: float, value: NDArray[Any]) -> None:
        if len(self.times) < MOST:
            self.times.append(time)
            self.values.append(np.asarray(value, np.float64))

    def add_finite(self, time: float, value: NDArray[Any]) -> None:
        """Add it if all of it is finite."""
        if np.isfinite(value).all():
            self.add(time, value)
        else:
            self.broken += 1

    @property
    def array(self) -> NDArray[np.float64]:
        """[times, names]"""
        return np.stack(self.values) if self.values else np.zeros((0, len(self.names)))


@dataclass
class Heard:
    """What one quantity of the spec showed.

    Attributes:
      read: messages that were read; broken: those with numbers that are not finite.
      problems: why others were refused, and how often.
      track: its numbers in the spec's units, before they are encoded; none of pictures.
      changed: whether two of its messages ever differed.
    """

    spec: ObservationSpec
    track: Track
    read: int = 0
    broken: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    changed: bool = False
    last: NDArray[Any] | None = None
    looked: int = 0


class Evidence:
    """Listens to all that a spec names.

    Attributes:
      streams: by topic as the spec writes it; signals and commands too.
      heard: by quantity.
      velocities: of JointStates that also carry a velocity, by quantity that reads positions; as the driver sends it.
      imus: by topic, by field: what an IMU says, whichever of it the spec reads.
      commands: by action, in its units: what somebody commands meanwhile.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self.spec = spec
        self.streams: dict[str, Stream] = {}
        for source in [*(o.source for o in spec.quantities), *spec.signals.values()]:
            fresh = Stream(source.topic, source.type, source, Pace(spec.period))
            stream = self.streams.setdefault(source.topic, fresh)
            stream.max_age = min(stream.max_age, source.max_age)
        for action in spec.actions:
            for topic in action.command.topics:
                self.streams.setdefault(topic, Stream(topic, action.command.type, None, Pace(spec.period)))
        self.heard = {o.name: Heard(o, Track(o.source.elements, o.unit)) for o in spec.quantities}
        self.velocities = {
            o.name: Track(o.source.names)
            for o in spec.quantities
            if o.source.type == JOINT_STATE and o.source.field == "position"
        }
        topics = {o.source.topic for o in spec.quantities if o.source.type == IMU}
        self.imus = {topic: {name: Track(axes) for name, axes in FIELDS[IMU].items()} for topic in sorted(topics)}
        self.commands = {a.name: Track(a.command.names, a.unit) for a in spec.actions if not a.discrete}
        self._readers = {o.name: make_reader(o.source) for o in spec.quantities}
        self._signals = {name: make_reader(source) for name, source in spec.signals.items()}
        self.signal_problems: Counter[str] = Counter()
        self._imu_readers: Mapping[tuple[str, str], Reader] = {
            (topic, name): make_reader(Source(topic, "sensor_msgs/msg/Imu", name))
            for topic, tracks in self.imus.items()
            for name in tracks
        }
        self._command_readers = [(action, CommandReader(action)) for action in spec.actions]
        feeds = make_feeds(spec, [], False, lambda: self._now * 1e-9, None)
        self._parts = {topic: feed for topic, feed in feeds.items() if isinstance(feed, JointParts)}
        self._now = 0

    def hear(self, topic: str, message: Any, received: int) -> None:
        """A message of a topic as the spec writes it; received: ns, on the clock that stamps are compared with."""
        self._now = received
        stream = self.streams[topic]
        stream.add(message, received)
        time = (stamp_of(message) or received) / 1e9
        if stream.source is None:
            self._hear_command(topic, message, received / 1e9)
            return
        for name, source in self.spec.signals.items():
            if source.topic == topic:
                self._judge_signal(name, message)
        if topic in self.imus:
            self._hear_imu(topic, message, time)
        if topic in self._parts:
            self._parts[topic].accept(message)
            reading = self._parts[topic].latest
            if reading is None:
                return
            message = reading.message
        numbers = None
        for heard in self.heard.values():
            if heard.spec.source.topic == topic:
                numbers = self._read(heard, message, time, received)
        stream.interleaving.add(received, numbers)

    def _read(self, heard: Heard, message: Any, time: float, received: int) -> NDArray[Any] | None:
        spec = heard.spec
        if spec.dtype == "uint8":
            if received - heard.looked < _PICTURE_EVERY and heard.read:
                return None
            heard.looked = received
        heard.read += 1
        try:
            values = self._readers[spec.name](message)
            if spec.dtype == "float32" and spec.source.type not in DISTANCES and not np.isfinite(values).all():
                heard.broken += 1
                return None
            encode_observation(spec, values)
        except ObservationError as error:
            heard.problems[str(error)] += 1
            return None
        heard.changed |= heard.last is not None and not np.array_equal(heard.last, values, equal_nan=True)
        heard.last = values
        if spec.dtype == "uint8":
            return None
        heard.track.add(time, spec.from_message(values))
        if spec.name in self.velocities and len(message.velocity) == len(message.name):
            column = dict(zip(message.name, message.velocity, strict=True))
            self.velocities[spec.name].add(time, np.array([column[name] for name in spec.source.names]))
        return values

    def _hear_imu(self, topic: str, message: Any, time: float) -> None:
        for field_name, track in self.imus[topic].items():
            try:
                track.add_finite(time, self._imu_readers[topic, field_name](message))
            except ObservationError:  # said by the quantity that reads it; else it does not matter
                continue

    def _hear_command(self, topic: str, message: Any, time: float) -> None:
        for action, reader in self._command_readers:
            if topic in action.command.topics:
                try:
                    command, _ = reader.read(topic, message)
                except CommandError as error:
                    self.signal_problems[str(error)] += 1
                    continue
                if action.name in self.commands and not reader.silent():
                    self.commands[action.name].add(time, command)

    def _judge_signal(self, name: str, message: Any) -> None:
        try:
            value = float(self._signals[name](message)[0])
        except ObservationError as error:
            self.signal_problems[f"{name}: {error}"] += 1
            return
        if not np.isfinite(value):
            self.signal_problems[f"{name}: expected a finite number, found {value}"] += 1
