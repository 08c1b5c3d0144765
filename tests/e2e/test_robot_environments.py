"""The robot side in environments of other Pythons and ROS 2 releases that really hold nothing but what a robot needs.

Each makes a virtual environment from package registries, hence the mark soak: make test ARGS="-m soak -k environments".
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.onboard_models import TOY, make_bundle, toy_spec

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = ("diagnostic", "geometry", "lifecycle", "nav", "rosgraph", "sensor", "std", "trajectory")
JAZZY = ["rclpy", "rmw-fastrtps-cpp", "std-srvs", *(f"{name}-msgs" for name in MESSAGES)]


def find_python(version: str) -> str:
    """ROBOT_DREAMER_PYTHONS may name interpreters, separated by colons, that are not on the path."""
    named = os.environ.get("ROBOT_DREAMER_PYTHONS", "").split(":")
    for python in [*named, shutil.which(f"python{version}")]:
        if not python:
            continue
        command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip() == version:
            return python
    pytest.skip(f"no Python {version} here; name one in ROBOT_DREAMER_PYTHONS")


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("version", "release"), [("3.10", "kilted"), ("3.12", "kilted"), ("3.12", "jazzy")])
def test_the_robot_side_acts(tmp_path: Path, version: str, release: str) -> None:
    pytest.importorskip("rclpy")  # where it cannot be installed here, it cannot be there
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "_ROS_WHEELS", "LD_LIBRARY"))}
    subprocess.run([find_python(version), "-m", "venv", tmp_path / "venv"], check=True, env=environment, timeout=120)
    python = tmp_path / "venv" / "bin" / "python"
    source = tmp_path / "source"  # a build leaves folders where it builds
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "build", "*.egg-info"))
    wheels = [f"{source}[onnx-cpu,ros-wheels]"]
    if release == "jazzy":
        wheels = [f"{source}[onnx-cpu]", *(f"ros-jazzy-{name}" for name in JAZZY)]
    subprocess.run([python, "-m", "pip", "install", "-q", *wheels], check=True, env=environment, timeout=600)
    robot = tmp_path / "robot"
    robot.mkdir()
    shutil.copy(ROOT / "tests" / "e2e" / "robot_side.py", robot)
    shutil.copy(ROOT / "tests" / "ros" / "fake_robot.py", robot)
    (robot / "toy.yaml").write_text(TOY)
    bundle = make_bundle(robot / "toy.bundle", toy_spec())
    command = [python, robot / "robot_side.py", robot / "toy.yaml", bundle]
    result = subprocess.run(command, capture_output=True, text=True, cwd=robot, env=environment, timeout=200)
    assert result.returncode == 0, result.stderr
    print(result.stdout)
    assert f"python {version}." in result.stdout and "with bundle 1" in result.stdout
