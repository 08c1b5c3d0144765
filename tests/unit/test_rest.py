"""`train --robot`: what the learner says, and when the robot's part of the minutes is over."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from robot_dreamer.commands import train_split
from robot_dreamer.commands.train_split import Learner
from robot_dreamer.run_status import SAVING, STATUS_FILE, RunStatus
from tests.made_up_runs import status


@pytest.mark.parametrize(("elapsed", "rest", "expected"), [(510, 1.5, True), (509, 1.5, False), (600, 0, False)])
def test_the_robot_rests_in_the_last_minutes(tmp_path: Path, elapsed: float, rest: float, expected: bool) -> None:
    said = msgspec.structs.replace(status(1, "training"), elapsed_s=elapsed)
    (tmp_path / STATUS_FILE).write_bytes(msgspec.json.encode(said))
    assert Learner(tmp_path).rests(10, rest) is expected


def test_before_the_learner_says_anything_it_does_not(tmp_path: Path) -> None:
    assert not Learner(tmp_path).rests(10, 9)
    (tmp_path / STATUS_FILE).write_text("{}")
    assert not Learner(tmp_path).rests(10, 9) and not Learner(tmp_path).saves()


def test_what_it_says_is_read_as_often_as_it_says_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[RunStatus] = []

    def read_status(logdir: Path) -> RunStatus:
        read.append(status(1, "training" if not read else SAVING))
        return read[-1]

    monkeypatch.setattr(train_split, "read_status", read_status)
    ticks = iter(range(1000))
    learner = Learner(tmp_path, lambda: next(ticks) / 10)
    seen = [learner.saves() for _ in range(25)]
    assert len(read) == 3 and seen.index(True) == 10
