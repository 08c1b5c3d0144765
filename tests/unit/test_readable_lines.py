"""Lines that are no entries are counted, whoever reads the file, and end nobody's work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robot_dreamer.learner.progress import EpisodeLog
from robot_dreamer.report.history import EpisodeReader
from robot_dreamer.report.run_files import read_run

GOOD = json.dumps({"env_step": 7, "return": 1.5, "policy_version": 2})
DAMAGED = ["[" * 100_000, '{"env_step": 1e999, "return": 0, "policy_version": 0}', "\0\0", "7"]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_counted_by_all_who_read_episodes(
    line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_text(f"{line}\n{GOOD}\n")
    reader = EpisodeReader(path)
    assert [episode.env_step for episode in reader.read()] == [7] and reader.unreadable == 1
    assert "episodes.jsonl: 1 lines cannot be read" in read_run(tmp_path).missing
    EpisodeLog(path)
    assert "1 of 2 lines cannot be read" in caplog.text


@pytest.mark.parametrize("name", ["metrics.jsonl", "run.json"])
def test_brackets_without_end_are_told_of_other_files(name: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text("{}")
    (tmp_path / name).write_text(DAMAGED[0] + "\n")
    assert any(line.startswith(name) and "cannot be read" in line for line in read_run(tmp_path).missing)
