"""A package that is not there is one line with what installs it; an interrupt at any moment leaves no traceback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robot_dreamer.missing import EXTRAS

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
WITHOUT = """
import sys
sys.modules.update({name: None for name in sys.argv[1].split()})
from robot_dreamer.cli import main
sys.exit(main(sys.argv[2:]))
"""
COMMANDS = [
    ("mujoco", ["train", "--env", "dmc:walker_walk"]),
    ("dm_control", ["train", "--env", "dmc:walker_walk"]),
    ("dm_control", ["evaluate", "--episodes", "1"]),
    ("mujoco", ["train", "--env", "robot:cartpole"]),
    ("gymnasium", ["train", "--env", "gym:CartPole-v1"]),
    ("gymnasium", ["learn"]),
    ("torch", ["learn"]),
    ("torch", ["train"]),
    ("onnxruntime", ["evaluate", "--episodes", "1"]),
    ("scipy", ["evaluate", "--episodes", "1"]),
    ("jinja2", ["report", "nowhere"]),
]


@pytest.mark.parametrize(("package", "command"), COMMANDS)
def test_a_missing_package_is_named_with_its_extra(package: str, command: list[str], tmp_path: Path) -> None:
    line = [sys.executable, "-c", WITHOUT, package, *command]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=100, env=ENVIRONMENT)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert f"{package} is missing: pip install 'robot_dreamer[{EXTRAS[package]}]'" in done.stderr


def test_every_extra_exists() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    declared = text.split("[project.optional-dependencies]")[1].split("[project.scripts]")[0]
    assert set(EXTRAS.values()) <= set(re.findall(r"(?m)^([a-z-]+) = \[", declared))


LEARN = ["robot_dreamer.cli", "learn", "--logdir", "run", "--bind", "tcp://127.0.0.1:5999"]
EXPORT = ["export.onnx", "--checkpoint", "x", "--output", "y"]


@pytest.mark.parametrize("wait", [0.1, 0.6, 1.7])
@pytest.mark.parametrize("command", [LEARN, EXPORT])
def test_an_interrupt_at_any_moment_leaves_no_traceback(command: list[str], wait: float, tmp_path: Path) -> None:
    line = [sys.executable, "-m", *command]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT)
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    if (
        "Traceback" in errors
        and wait == 0.1
        and not re.search(rf'File "{ROOT}/(robot_dreamer|export)/[^"]+", line [0-9]+, in [a-z_]', errors)
    ):
        return  # on a busy machine no function of ours had begun yet
    assert "Traceback" not in errors, errors
    # 0: it ran already and ended well; 2: it found nothing to export before; by the signal: Python was not up yet
    assert process.returncode in (130, 0, 2, -signal.SIGINT), errors
