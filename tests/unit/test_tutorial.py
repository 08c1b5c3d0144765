"""The tutorial: its commands are ones that there are; the quick ones do what the page says."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from robot_dreamer.cli import _parse, main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^robot-dreamer .*$", PAGE, re.MULTILINE)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's folder, with the files of the tutorial."""
    shutil.copytree(ROOT / "docs" / "tutorial", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_has_the_options_that_it_is_given(command: list[str]) -> None:
    assert callable(_parse(command).run)


def test_check_and_sim_say_what_the_page_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check, sim = (next(c for c in COMMANDS if c[0] == name) for name in ("check", "sim"))
    assert main(check) == 0
    assert capsys.readouterr().out in PAGE
    assert main(sim) == 0
    returns = [line for line in capsys.readouterr().out.splitlines() if line.startswith("seed")]
    assert len(returns) == 3 and all(line in PAGE for line in returns)


def test_degrees_are_found_as_the_page_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = (folder / "pointer.xml").read_text()
    (folder / "pointer.xml").write_text(model.replace('<compiler angle="radian"/>', ""))
    assert main(["check", "pointer.yaml", "--preset", "cpu_small"]) == 1
    said = " ".join(capsys.readouterr().out.replace(f"{folder}/", "").split())
    assert "joint hinge: expected -0.0523599 to 0.0523599, found -1.5" in said
    assert "joint hinge: expected -0.0523599 to 0.0523599, found -1.5" in " ".join(PAGE.split())


def test_the_spec_on_the_page_is_the_file() -> None:
    block = PAGE.split("```yaml\n")[1].split("```")[0]
    shown = [line.split("  #")[0].rstrip() for line in block.splitlines()]
    file = (ROOT / "docs" / "tutorial" / "pointer.yaml").read_text().splitlines()
    assert shown == [line for line in file if not line.startswith(("#", "description"))]
