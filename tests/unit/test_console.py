"""What a command prints is text: brackets of paths and ids stay, in lines and in tables."""

from __future__ import annotations

import re
from pathlib import Path

from rich.table import Table

from robot_dreamer.report.console import plain_console

NAME = "run[red]x[bold]:smile:[/red]"
ROOT = Path(__file__).parents[2]


def test_names_stay_as_they_are(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        console = plain_console(file=file, width=100)
        console.print(NAME)
        console.print(f"path {NAME}", soft_wrap=True)
        table = Table(NAME)
        table.add_row(NAME)
        table.title = table.caption = NAME
        console.print(table)
    assert (tmp_path / "out").read_text().count(NAME) == 6


def test_every_console_is_such_a_one() -> None:
    files = [path for room in ("robot_dreamer", "sim", "export", "ros_nodes") for path in (ROOT / room).rglob("*.py")]
    makers = [path.name for path in files if re.search(r"(?<![\w.])Console\(", path.read_text(encoding="utf-8"))]
    assert makers == ["console.py"]
