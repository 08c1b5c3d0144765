"""With which code a run says that it was made."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from robot_dreamer.learner.provenance import commit_of


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")
def test_the_commit_is_that_of_the_checkout_that_has_the_code(tmp_path: Path) -> None:
    """Not that of a project in whose folder the code is installed."""
    own, installed = tmp_path / "code.py", tmp_path / ".venv" / "code.py"
    installed.parent.mkdir()
    for file in (own, installed):
        file.write_text("")
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    git("add", "code.py")
    git(*author, "commit", "-q", "-m", "first")
    assert commit_of(own) and git("rev-parse", "HEAD").startswith(commit_of(own))
    assert commit_of(installed) == "" == commit_of(tmp_path.parent / "elsewhere" / "code.py")
