"""The status file: whole, readable as text and as JSON, and honest about a dead learner."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import msgspec
import pytest

from robot_dreamer.link import status
from robot_dreamer.link.errors import LinkError

ROBOT = status.RobotStatus(
    robot="r1",
    boot="b",
    connected=True,
    last_seen=0.2,
    received=100,
    duplicates=3,
    rejected={"invalid": 2},
    missing=4,
    acknowledged=102,
    spooled=7,
    round_trip=0.0123,
    dropped={"queue_full": 5},
    bad_messages={},
    fetched_version=6,
    bundle_version=5,
    figures={"episode_return": 3.5},
    refused="",
)
STATUS = status.LinkStatus(
    process=42,
    address="tcp://127.0.0.1:1",
    written=0.0,
    rows=100,
    bad_messages={"checksum": 1},
    refusals={"spec": 9},
    last_error="something",
    robots=[ROBOT],
)


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    status.add_arguments(parser)
    return status.run(parser.parse_args(list(arguments)))


def test_each_figure_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status.write_status(tmp_path, msgspec.structs.replace(STATUS, written=time.monotonic()))
    run(str(tmp_path))
    text = capsys.readouterr().out
    for part in (
        "process 42: running; 100 rows",
        "r1: connected, seen 0.2 s ago, round trip 12.3 ms",
        "spooled 7, received 100, acknowledged 102, duplicates 3, missing 4, rejected invalid 2",
        "dropped there queue_full 5",
        "bundle 5 acts, 6 fetched",
        "bad messages checksum 1; refusals spec 9",
        "last trouble: something",
    ):
        assert part in text


def test_json_holds_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status.write_status(tmp_path, STATUS)
    run(str(tmp_path), "--json")
    assert json.loads(capsys.readouterr().out) == msgspec.to_builtins(STATUS)


def test_an_old_file_is_not_taken_for_a_living_learner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status.write_status(tmp_path, msgspec.structs.replace(STATUS, written=time.monotonic() - 60))
    run(str(tmp_path))
    assert "NOT RUNNING" in capsys.readouterr().out


def test_wrong_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="is this the directory of a learner's store"):
        run(str(tmp_path))
    (tmp_path / status.STATUS_FILE).write_text("{}")
    with pytest.raises(LinkError, match="is no link status"):
        run(str(tmp_path))
