"""Bag -> store, for bags that `data export` made: every row comes back as it was, under its old identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from robot_dreamer.data.archive import FORMAT, Archiver
from robot_dreamer.data.bags import decode, messages, open_bag
from robot_dreamer.data.errors import DataError
from robot_dreamer.data.export import ROWS_KIND, ROWS_TOPIC, SPEC_KIND, SPEC_TOPIC, BagHead
from robot_dreamer.data.source import store_rows
from robot_dreamer.data.survey import Survey
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.link.store import AddResult, ExperienceStore
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import RobotSpec


def archived_spec(bag: Path) -> RobotSpec | None:
    """The spec that an export carries; None for a bag of another origin. Raises DataError."""
    with open_bag(bag) as reader:
        heads = [c for c in reader.connections if c.topic == SPEC_TOPIC and c.msgtype == SPEC_KIND]
        for topic, _, data, kind in messages(reader, heads):
            try:
                head = decode_json(decode(reader, topic, data, kind).data, BagHead)
            except msgspec.MsgspecError as error:
                raise DataError(f"{bag}: what stands on {SPEC_TOPIC} is no spec: {error}") from error
            if head.format != FORMAT:
                raise DataError(f"{bag} is an export of format {head.format}, this program reads format {FORMAT}")
            return head.spec
    return None


def count_rows(bag: Path) -> int:
    """Rows in an export."""
    with open_bag(bag) as reader:
        return sum(c.msgcount for c in _row_connections(reader))


def restore_rows(
    bag: Path, store: ExperienceStore, survey: Survey, progress: Callable[[], None] = lambda: None
) -> AddResult:
    """Add all rows of an export to a store; those that it has already are discarded as duplicates.

    Raises:
      DataError: a row is damaged; the rows before it are stored, and importing a whole copy adds the rest.
    """
    return store_rows(_rows(bag, store.spec, progress), store, survey)


def _rows(bag: Path, spec: RobotSpec, progress: Callable[[], None]) -> Iterator[StepRecord]:
    archiver = Archiver(spec)
    with open_bag(bag) as reader:
        for number, (topic, _, data, kind) in enumerate(messages(reader, _row_connections(reader))):
            try:
                row = archiver.decode(decode(reader, topic, data, kind).data.tobytes())
            except DataError as error:
                raise DataError(f"{bag}, row {number} on {topic}: {error}") from error
            yield row
            progress()


def _row_connections(reader: Any) -> list[Any]:
    return [c for c in reader.connections if c.topic == ROWS_TOPIC and c.msgtype == ROWS_KIND]
