"""The examples of systemd units: it finds nothing wrong in them, and they say nothing that our programs do not know."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from robot_dreamer.settings.learner import LearnerSettings
from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.settings.setting import settings_of

UNITS = Path(__file__).parents[2] / "docs" / "systemd"


def command(unit: str) -> str:
    (line,) = re.findall(r"^ExecStart=(.*)$", (UNITS / f"{unit}.service").read_text(), re.MULTILINE)
    return str(line)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", ["robot-dreamer-policy", "robot-dreamer-learner"])
def test_systemd_finds_nothing_wrong(unit: str, tmp_path: Path) -> None:
    text = (UNITS / f"{unit}.service").read_text().replace(command(unit), "/bin/true")  # ours is not installed there
    (tmp_path / f"{unit}.service").write_text(re.sub("^User=.*$", "User=root", text, flags=re.MULTILINE))
    found = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / f"{unit}.service")], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_what_they_say_is_known() -> None:
    parameters = re.findall(r"-p (\w+):=", command("robot-dreamer-policy"))
    assert parameters and set(parameters) <= {entry.name for entry in settings_of(PolicyNodeSettings)}
    options = re.findall(r" --([\w-]+)", command("robot-dreamer-learner"))
    assert options and set(options) <= {entry.option or entry.name for entry in settings_of(LearnerSettings)}
