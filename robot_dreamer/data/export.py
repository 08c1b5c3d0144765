"""Store -> bag: the messages of the spec's topics, and beside them each row whole.

    /robot_dreamer/spec   std_msgs/String           JSON: format, spec (once, first)
    /robot_dreamer/rows   std_msgs/UInt8MultiArray  a row; see archive.py
    topics of the spec    their own types           see topics.py; below /<robot>/ where several robots are exported

A bag's time must rise, but a boot need not be later than the one before it: simulated time begins again. Such a boot is
moved to `BETWEEN_BOOTS` behind. That changes the times at which the bag plays its messages, never a stamp inside.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from robot_dreamer.data.archive import FORMAT, Archiver
from robot_dreamer.data.bags import BagWriter, Format, message_type, new_bag
from robot_dreamer.data.errors import DataError
from robot_dreamer.data.topics import TopicWriter
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import RobotSpec

SPEC_TOPIC = "/robot_dreamer/spec"
ROWS_TOPIC = "/robot_dreamer/rows"
SPEC_KIND, ROWS_KIND = "std_msgs/msg/String", "std_msgs/msg/UInt8MultiArray"
BETWEEN_BOOTS = 1_000_000_000  # ns


class BagHead(msgspec.Struct, frozen=True):
    """What stands on the spec topic."""

    format: int
    spec: RobotSpec


@dataclass
class _Clock:
    """The bag's time of one robot: rises from row to row."""

    boot: str = ""
    shift: int = 0
    last: int = 0

    def time(self, row: StepRecord) -> int:
        if row.boot != self.boot:
            self.boot = row.boot
            begin = self.last + BETWEEN_BOOTS if self.last else 1  # the spec comes before it
            self.shift = max(0, begin - row.stamp_capture)
        self.last = max(self.last + 1, row.stamp_capture + self.shift)
        return self.last


def export_rows(
    rows: Iterable[StepRecord],
    spec: RobotSpec,
    output: Path,
    form: Format,
    *,
    namespaces: bool,
    progress: Callable[[], None] = lambda: None,
) -> dict[str, int]:
    """Write rows, in the order of the store, into a new bag; returns the messages per topic.

    Args:
      namespaces: each robot's topics below /<robot>/.
      progress: called once per row.

    Raises:
      DataError: there are no rows, or something is at `output` already.
    """
    clocks: dict[str, _Clock] = {}
    segments: dict[str, str] = {}
    archiver, topics = Archiver(spec), TopicWriter(spec)
    with new_bag(output, form) as bag:
        head = msgspec.json.encode(BagHead(FORMAT, spec)).decode()
        for row in rows:
            clock = clocks.setdefault(row.robot, _Clock())
            time = clock.time(row)
            if SPEC_TOPIC not in bag.counts:
                bag.write(SPEC_TOPIC, SPEC_KIND, time - 1, message_type(SPEC_KIND)(data=head))
            _write_row(bag, archiver, row, time)
            if row.robot not in segments:
                segments[row.robot] = _segment(row.robot, segments.values())
            for message in topics.messages(row):
                sent = max(time, message.stamp + clock.shift)
                topic = f"/{segments[row.robot]}/{message.topic.lstrip('/')}" if namespaces else message.topic
                bag.write(topic if topic.startswith("/") else f"/{topic}", message.kind, sent, message.message)
            progress()
        if not clocks:
            raise DataError("there is nothing to export: no row matches")
        return dict(bag.counts)


def _write_row(bag: BagWriter, archiver: Archiver, row: StepRecord, time: int) -> None:
    blob = archiver.encode(row)
    label = message_type("std_msgs/msg/MultiArrayDimension")(label="row", size=len(blob), stride=len(blob))
    layout = message_type("std_msgs/msg/MultiArrayLayout")(dim=[label], data_offset=0)
    bag.write(ROWS_TOPIC, ROWS_KIND, time, message_type(ROWS_KIND)(layout=layout, data=np.frombuffer(blob, np.uint8)))


def _segment(robot: str, taken: Collection[str]) -> str:
    """A robot id as part of a topic name, where letters, digits and single _ are allowed and no digit stands first."""
    name = re.sub("[^A-Za-z0-9]+", "_", robot)
    name = name if not name[0].isdigit() else f"robot_{name}"
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    return next(x for x in names if x not in taken)
