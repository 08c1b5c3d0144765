"""A package that is not there is one line with what installs it; an interrupt at any moment leaves no traceback."""

from __future__ import annotations

import json
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
import json, os, sys, traceback
import torch  # once: each command is in a fork of this process, for the import takes seconds

def run(package, words):
    sys.modules[package] = None
    try:
        from robot_dreamer.cli import main
        return main(words)
    except SystemExit as end:
        return end.code
    except BaseException:
        traceback.print_exc()
        return 1

statuses = []
for number, (package, words) in enumerate(json.loads(sys.argv[1])):
    if os.fork() == 0:
        os.dup2(os.open(f"{number}.txt", os.O_WRONLY | os.O_CREAT), 2)
        status = run(package, words)
        sys.stderr.flush()
        os._exit(status)
    statuses.append(os.waitstatus_to_exitcode(os.wait()[1]))
print(json.dumps(statuses))
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
    ("dm_control", ["train"]),
    ("rclpy", ["train"]),
    ("onnxruntime", ["train"]),
    ("onnxruntime", ["evaluate", "--episodes", "1"]),
    ("scipy", ["evaluate", "--episodes", "1"]),
    ("jinja2", ["report", "nowhere"]),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str]]:
    """Of each command without its package: status and standard error."""
    folder = tmp_path_factory.mktemp("without")
    line = [sys.executable, "-c", WITHOUT, json.dumps(COMMANDS)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=folder, timeout=100, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return [(status, (folder / f"{number}.txt").read_text()) for number, status in enumerate(json.loads(done.stdout))]


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=[f"{package}-{words[0]}" for package, words in COMMANDS])
def test_a_missing_package_is_named_with_its_extra(outcomes: list[tuple[int, str]], number: int) -> None:
    (package, _), (status, errors) = COMMANDS[number], outcomes[number]
    assert status == 2 and "Traceback" not in errors, errors
    assert f"{package} is missing: pip install 'robot_dreamer[{EXTRAS[package]}]'" in errors


AS_A_MODULE = """
import runpy, sys
package, module = sys.argv[1:]
sys.modules[package], sys.argv[:] = None, ["-m"]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("package", "module"),
    [
        ("torch", "export.onnx"),
        ("rclpy", "ros_nodes.policy_node"),
        ("onnxruntime", "ros_nodes.policy_node"),
        ("rclpy", "sim.node"),
        ("mujoco", "sim.node"),
    ],
)
def test_so_it_is_by_what_is_started_as_a_module(package: str, module: str) -> None:
    if module != "export.onnx":
        pytest.importorskip("rclpy")
    line = [sys.executable, "-c", AS_A_MODULE, package, module]
    done = subprocess.run(line, capture_output=True, text=True, timeout=100, env=ENVIRONMENT)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert f"{package} is missing: pip install 'robot_dreamer[{EXTRAS[package]}]'" in done.stderr


def test_every_extra_exists() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    declared = text.split("[project.optional-dependencies]")[1].split("[project.scripts]")[0]
    assert set(EXTRAS.values()) <= set(re.findall(r"(?m)^([a-z-]+) = \[", declared))


LEARN = ["robot_dreamer.cli", "learn", "--logdir", "run", "--bind", "tcp://127.0.0.1:5999"]
EXPORT = ["export.onnx", "--checkpoint", "x", "--output", "y"]


def work(process: subprocess.Popen[str]) -> float:
    """Seconds of a processor that it has had: how far it is, however busy the machine."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("moment", [0.1, 0.6, 1.7])
@pytest.mark.parametrize("command", [LEARN, EXPORT])
def test_an_interrupt_at_any_moment_leaves_no_traceback(command: list[str], moment: float, tmp_path: Path) -> None:
    line = [sys.executable, "-m", *command]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT)
    deadline = time.monotonic() + 60
    while process.poll() is None and work(process) < moment:
        assert time.monotonic() < deadline, f"it has not worked for {moment} s"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    if (
        "Traceback" in errors
        and moment == 0.1
        and not re.search(rf'File "{ROOT}/(robot_dreamer|export)/[^"]+", line [0-9]+, in [a-z_]', errors)
    ):
        return  # on a slow machine no function of ours had begun yet
    assert "Traceback" not in errors, errors
    # 0: it ran already and ended well; 2: it found nothing to export before; by the signal: Python was not up yet
    assert process.returncode in (130, 0, 2, -signal.SIGINT), errors
