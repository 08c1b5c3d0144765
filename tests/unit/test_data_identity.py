"""A recording that is imported again adds nothing; made into rows in another way, it is refused where the first are."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from robot_dreamer.spec import RobotSpec
from tests.recorded_bags import SPEC, lived, load, sent, write

pytest.importorskip("rosbags")


def of_length(most: int) -> RobotSpec:
    """What merely tunes differs: a store of the one takes rows of the other."""
    return msgspec.structs.replace(SPEC, episode=msgspec.structs.replace(SPEC.episode, max_steps=most))


def test_a_bag_by_another_spec_does_not_go_on_behind_the_rows_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Row 20 of the one is another moment than row 20 of the other: behind the first they would be one stream."""
    bag = write(tmp_path / "x", sent(SPEC, lived(of_length(30), 50)))
    status, first = load(bag, of_length(10))
    assert status == 0 and len(first) > 20
    assert load(bag, of_length(20))[0] == 2
    assert "has rows of this recording already, made by another spec" in capsys.readouterr().err
    described = msgspec.structs.replace(of_length(10), description="for people")
    status, again = load(bag, described)
    assert status == 0 and len(again) == len(first)
    (tmp_path / "new.sqlite").unlink()
    assert load(bag, of_length(20))[0] == 0
