"""A store as the data commands see it: found by its run or its file, opened with the spec that it was made for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.survey import Survey
from robot_dreamer.link.blocks import BlockCodec
from robot_dreamer.link.reader import Mark, StoreReader, rows_at_once
from robot_dreamer.link.store import AddResult, ExperienceStore
from robot_dreamer.record import StepRecord

STORE_FILE = "experience.sqlite"  # in a run's log directory
_BATCH = 1024  # rows in memory at a time; fewer where they are large


def store_path(place: Path) -> Path:
    """The store of a run's log directory, or the store file itself (a path that ends in .sqlite)."""
    place = place.expanduser()
    return place if place.suffix == ".sqlite" else place / STORE_FILE


def open_store(place: Path) -> StoreReader:
    """Open a store, also while a learner writes it. Raises DataError if there is none, LinkError if it is broken."""
    path = store_path(place)
    if not path.exists():
        raise DataError(f"{path} is not there; give a run's log directory, or a store (a file that ends in .sqlite)")
    return StoreReader(path)


def discarded_in(store: ExperienceStore | StoreReader) -> frozenset[tuple[str, str, int]]:
    """(robot, boot, episode) of what a person has said not to learn from."""
    return frozenset((mark.robot, mark.boot, mark.episode) for mark in store.marks())


def rows_of(store: ExperienceStore | StoreReader, discarded: bool = False) -> Iterator[StepRecord]:
    """The rows that are in a store now, in order of arrival; those of discarded episodes only if asked for."""
    left_out = frozenset() if discarded else discarded_in(store)
    cursor, end = 0, store.count()
    while cursor < end and (entries := store.read(cursor, min(_BATCH, end - cursor))):
        yield from (row for _, row in entries if (row.robot, row.boot, row.episode) not in left_out)
        cursor = entries[-1][0]


def store_rows(rows: Iterable[StepRecord], store: ExperienceStore, survey: Survey) -> AddResult:
    """Add rows to a store, many per transaction, and to a survey."""
    result = AddResult()
    rows, most = iter(rows), min(_BATCH, rows_at_once(BlockCodec(store.spec)))
    while batch := list(itertools.islice(rows, most)):
        for row in batch:
            survey.add(row)
        result.merge(store.add(batch))
    return result


def copy_marks(marks: Iterable[Mark], store: ExperienceStore, robot: Callable[[str], str] = str) -> None:
    """Discard the same episodes in another store, whose rows may be there already or not.

    robot: what a robot of the marks is called there.
    """
    with store.transaction():
        for mark in marks:
            store.discard(robot(mark.robot), mark.boot, mark.episode)


def size_of(path: Path) -> int:
    """Bytes of a store on disk, its write-ahead log included."""
    return sum(p.stat().st_size for p in (path, path.with_name(path.name + "-wal")) if p.exists())
