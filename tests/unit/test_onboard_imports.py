"""The robot side runs where torch, gymnasium and simulators are not installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

SCRIPT = """
import importlib, pkgutil, sys

for name in ("torch", "gymnasium", "mujoco", "dm_control", "onnx", "matplotlib", "rich"):
    sys.modules[name] = None  # importing it raises ImportError
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
        importlib.import_module(module.name)
"""


def run(*packages: str) -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT, *packages], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_robot_side() -> None:
    run("robot_dreamer.spec", "robot_dreamer.record", "robot_dreamer.onboard", "robot_dreamer.link")


def test_ros_nodes() -> None:
    if importlib.util.find_spec("rclpy") is None:
        pytest.skip("rclpy is not installed")
    run("ros_nodes")


def test_the_block_blocks() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT, "torch"], capture_output=True, text=True, timeout=60)
    assert result.returncode != 0
