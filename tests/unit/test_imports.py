"""The robot side in an environment that really has no torch, gymnasium or simulator: links to everything else."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEARNER_ONLY = (
    "torch",
    "functorch",
    "gymnasium",
    "mujoco",
    "dm_control",
    "onnx",
    "onnxscript",
    "rich",
    "matplotlib",
    "scipy",
)
ROOMS = [
    "robot_dreamer.spec",
    "robot_dreamer.record",
    "robot_dreamer.link",
    "robot_dreamer.onboard",
    "robot_dreamer.preflight",
]

SCRIPT = """
import importlib, importlib.util, pkgutil, sys
missing, rooms = sys.argv[1].split(","), sys.argv[2:]
found = [name for name in missing if importlib.util.find_spec(name)]
assert not found, f"these should not be here: {found}"
for name in rooms:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
        importlib.import_module(module.name)
        print(module.name)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables that put a copy of the installed packages, without the learner's, on the path of `python -S`."""
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(folder).iterdir():
            top = entry.name.split("-")[0].split(".")[0]
            if top not in LEARNER_ONLY and not (tmp_path / entry.name).exists():
                (tmp_path / entry.name).symlink_to(entry)
    path = [str(ROOT), str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]  # ROS 2's, where sourced
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def run(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-S", *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_every_module_of_the_robot_side_imports(environment: dict[str, str]) -> None:
    rooms = [*ROOMS, *(["ros_nodes"] if importlib.util.find_spec("rclpy") else [])]
    modules = run(environment, "-c", SCRIPT, ",".join(LEARNER_ONLY), *rooms).split()
    assert "robot_dreamer.link.robot" in modules and "robot_dreamer.onboard.policy" in modules
    assert ("ros_nodes.policy_node" in modules) == ("ros_nodes" in rooms)


def test_the_robots_commands_work(environment: dict[str, str]) -> None:
    assert "keys" in run(environment, "-m", "robot_dreamer.cli", "--help")
    run(environment, "-m", "robot_dreamer.cli", "keys", "--help")
    checked = run(environment, "-m", "robot_dreamer.cli", "check", "a1")
    assert "not tried with its networks: torch is missing" in " ".join(checked.split()) and "GO (" in checked


def test_only_modules_of_rclpy_that_humble_has_are_imported() -> None:
    """What lies elsewhere in another ROS 2 release comes from ros_nodes/distro.py."""
    humble = {"clock", "context", "exceptions", "executors", "impl", "lifecycle", "node", "parameter", "qos", "signals"}
    humble |= {"callback_groups", "duration", "logging", "publisher", "service", "subscription", "time", "timer"}
    files = [f for room in ("ros_nodes", "sim") for f in (ROOT / room).glob("*.py") if f.name != "distro.py"]
    imported = {
        (node.module or "", file.name)
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    found = {(module, name) for module, name in imported if module.startswith("rclpy.")}
    assert len(found) > 10
    assert not {(module, name) for module, name in found if module.split(".")[1] not in humble}
