"""A person lowers the floor of a lineage: what was refused for its version flies again, and nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from robot_dreamer.cli import main
from robot_dreamer.link.database import locked
from robot_dreamer.link.spool import SPOOL_FILE
from robot_dreamer.onboard.logbook import Logbook
from tests.onboard_models import make_bundle, toy_spec


@pytest.fixture
def logdir(tmp_path: Path) -> Path:
    logbook = Logbook(tmp_path / "bundles")
    bundle = make_bundle(tmp_path / "bundle-00000003.zip", toy_spec(), 3)
    logbook.keep(bundle)
    logbook.write({"run": 2**62, "other": 5}, bundle.name, [])
    return tmp_path


def test_the_floors_are_shown(logdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flown", str(logdir)]) == 0
    assert f"lineage 'run': flown up to version {2**62}" in capsys.readouterr().out


def test_a_floor_is_lowered_and_the_rest_stays(logdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flown", str(logdir), "--lineage", "run", "--floor", "7"]) == 0
    after = Logbook(logdir / "bundles")
    assert after.flown.floors == {"run": 7, "other": 5}
    assert after.acting is not None and after.acting.is_file()
    assert main(["flown", str(logdir), "--lineage", "other", "--floor", "-1"]) == 0
    assert Logbook(logdir / "bundles").flown.floors == {"run": 7}


def test_a_node_that_runs_would_write_over_it(logdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(logdir / SPOOL_FILE):
        assert main(["flown", str(logdir), "--lineage", "run", "--floor", "7"]) == 2
        assert f"spool.sqlite is in use by process {os.getpid()}; stop it" in capsys.readouterr().err
        assert main(["flown", str(logdir)]) == 0  # it may be looked at
    assert Logbook(logdir / "bundles").flown.floors["run"] == 2**62


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--lineage", "nobody", "--floor", "3"], "lineage 'nobody' has not flown here; these have: 'run', 'other'"),
        (["--lineage", "other", "--floor", "5"], "floor: expected below 5, which has flown, found 5"),
        (["--lineage", "other"], "--lineage and --floor go together"),
    ],
)
def test_wrong_use_is_explained(
    logdir: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["flown", str(logdir), *options]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_without_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flown", str(tmp_path)]) == 2
    assert "flown.json is not there" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
