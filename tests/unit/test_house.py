"""Sizes of files: a file is one idea, and the way from sensor to bundle can be read in one sitting."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("robot_dreamer", "ros_nodes", "sim", "export", "launch", "tests", "benchmarks")


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_is_above_350_lines() -> None:
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 300
    assert {str(path.relative_to(ROOT)): n for path in files if (n := _lines(path)) > 350} == {}


def test_the_reading_path_is_short() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("## Reading path")[1].split("\n## ")[0]
    path = [ROOT / name for name in re.findall(r"`([a-z_0-9/]+/[a-z_0-9]+\.py)`", page)]
    assert len(path) >= 7
    objectives = [*(ROOT / "robot_dreamer/learner/objectives").glob("*.py")]
    assert {str(file.relative_to(ROOT)): n for file in [*path, *objectives] if (n := _lines(file)) > 200} == {}
    assert sum(map(_lines, path)) <= 1200
