"""Rows that are there already, taken into a run as demonstrations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.source import copy_marks, open_store, rows_of, store_path, store_rows
from robot_dreamer.data.survey import Survey
from robot_dreamer.link.keys import require_robot_id
from robot_dreamer.link.reader import StoreReader
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import DEMONSTRATION, INTERVENTION, TAKEN_OVER, StepRecord
from robot_dreamer.spec import require_same_spec


def add_demonstrations(place: Path, store: ExperienceStore) -> int:
    """Copy the rows of a run or store into a run's store, as lived by `demonstration-<robot>` under a person's hand.

    Copying them again changes nothing, but for episodes that were discarded since. Returns how many rows it newly took.

    Raises:
      DataError: there is no such store, it is the run's own, it holds no row, or rows do not fit.
      SpecMismatch: they are of a robot whose numbers mean something else; both sides are shown.
    """
    if not store_path(place).exists():
        raise DataError(
            f"demonstrations: {place} is neither a run nor a store; of a bag, `robot-dreamer data import {place} "
            "--store demonstrations` makes one"
        )
    if store_path(place).resolve() == store.path.resolve():
        raise DataError(
            f"demonstrations: expected another run or store than {place}, which is this run's own: its rows are "
            "learned from anyway, and would come in again as a person's"
        )
    source = open_store(place)
    try:
        require_same_spec(store.spec, source.spec, f"the demonstrations of {place}")
        if not source.count():
            raise DataError(f"demonstrations: {place} holds no row")
        result = store_rows(_demonstrated(source), store, Survey(store.spec))
        copy_marks(source.marks(), store, _as_demonstrator)
    finally:
        source.close()
    if result.rejected:
        raise DataError(f"demonstrations: rows of {place} do not fit: {dict(result.rejected)}")
    return result.stored


def _demonstrated(source: StoreReader) -> Iterator[StepRecord]:
    for row in rows_of(source):
        robot = _as_demonstrator(row.robot)
        require_robot_id(robot)
        shown = row.policy_version != TAKEN_OVER  # there a person gave nothing to imitate
        yield replace(row, robot=robot, policy_version=INTERVENTION if shown else TAKEN_OVER)


def _as_demonstrator(robot: str) -> str:
    return robot if robot.startswith(DEMONSTRATION) else DEMONSTRATION + robot
