"""A servant yields before its module imports anything, is given its arguments, and has its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robot_dreamer import servant

MODULE = """
import os, sys
from pathlib import Path
group = Path("/proc/self/autogroup")
print(group.read_text().split()[-1] if group.exists() else 10, os.nice(0), __name__, sys.argv)
sys.exit(3)
"""


def test_a_servant_yields_before_anything_of_its_module_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "errand.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    command = servant.command("errand", "a", "b c")
    done = subprocess.run(
        command, env=servant.environment(), capture_output=True, text=True, check=False, start_new_session=True
    )
    nice = min(19, os.nice(0) + 10)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == f"10 {nice} __main__ ['{tmp_path / 'errand.py'}', 'a', 'b c']\n"


def test_a_servant_whose_master_has_ended_does_nothing() -> None:
    command = [sys.executable, "-m", "robot_dreamer.servant", str(os.getppid()), "this"]
    done = subprocess.run(command, env=servant.environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
