"""`train --robot --rest`: when the robot's part of the minutes is over."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import pytest

from robot_dreamer.commands.train_split import _rests
from robot_dreamer.run_status import STATUS_FILE
from tests.made_up_runs import status


@pytest.mark.parametrize(("elapsed", "rest", "expected"), [(510, 1.5, True), (509, 1.5, False), (600, 0, False)])
def test_the_robot_rests_in_the_last_minutes(tmp_path: Path, elapsed: float, rest: float, expected: bool) -> None:
    said = msgspec.structs.replace(status(1, "training"), elapsed_s=elapsed)
    (tmp_path / STATUS_FILE).write_bytes(msgspec.json.encode(said))
    assert _rests(tmp_path, argparse.Namespace(minutes=10, rest=rest)) is expected


def test_before_the_learner_says_anything_it_does_not(tmp_path: Path) -> None:
    options = argparse.Namespace(minutes=10, rest=9)
    assert not _rests(tmp_path, options)
    (tmp_path / STATUS_FILE).write_text("{}")
    assert not _rests(tmp_path, options)
