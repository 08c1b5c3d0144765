"""Whatever a robot says of itself, both displays draw it, markup is text, and status.json is strict JSON."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_dreamer.cli import main
from robot_dreamer.commands.link_status import _table
from robot_dreamer.learner.progress import write_json_atomically
from robot_dreamer.report.console import plain_console
from robot_dreamer.report.figures import amount, counts, number, words
from robot_dreamer.report.panel import Snapshot, panel
from robot_dreamer.run_status import STATUS_FILE
from tests.unit.test_report import NOW, robot, status

NAMES = ("bundle_version", "bundle_age_s", "loop_misses", "loop_ticks", "refused_samples", "faults", "fault", "state")
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("[/x]")


def drawn(**changes: Any) -> str:
    """What both displays show of a robot."""
    console = plain_console(width=200, record=True, file=io.StringIO())
    found = robot(**changes)
    console.print(panel(Snapshot(Path("x"), status(robots=[found]), [], NOW, NOW - 9)))
    console.print(_table([found]))
    return console.export_text()


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING), st.dictionaries(st.text(max_size=8), ANYTHING, max_size=3))
def test_both_displays_draw_whatever_a_robot_says(figures: dict[str, Any], counters: dict[str, Any]) -> None:
    drawn(figures=figures, dropped=counters)


@pytest.mark.parametrize("bad", ["x", None, math.inf, math.nan, True, [1]])
def test_what_is_no_number_is_a_question_mark(bad: Any) -> None:
    assert number(bad) is None and amount(bad) == "?"
    assert "bundle ? of 41 on board" in drawn(figures={"bundle_version": bad})


def test_markup_of_a_peer_is_text() -> None:
    shown = drawn(figures={"fault": "[/x][red]stop"}, dropped={"[bold]full": 3})
    assert "[/x][red]stop" in shown and "[bold]full" in shown
    assert words(5) == "?" and counts({"a": 2, "b": 0, "c": "x"}) == {"a": 2} and counts([1]) == {}


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"time": 1', b"\xff\xfe\x00", b""])
def test_a_status_of_another_program_is_named(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / STATUS_FILE).write_bytes(content)
    assert main(["link-status", "--logdir", str(tmp_path)]) == 2
    assert f"{tmp_path / STATUS_FILE} is not the status of a run" in capsys.readouterr().err


def test_a_robot_of_another_version_is_shown_with_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / STATUS_FILE).write_bytes(msgspec.json.encode(status(robots=[{"robot": "old"}, {}])))
    assert main(["link-status", "--logdir", str(tmp_path)]) == 1  # the learner is not running
    assert "old" in capsys.readouterr().out


def test_files_of_a_run_are_strict_json(tmp_path: Path) -> None:
    write_json_atomically(tmp_path / "x", {"a": [math.nan, 1.5, "\u00b0"], "b": {"c": -math.inf}})
    text = (tmp_path / "x").read_text(encoding="utf-8")
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text) == {"a": [None, 1.5, "\u00b0"], "b": {"c": None}}
