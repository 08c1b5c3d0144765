"""Metadata that stands in more than one place, and files that ROS 2 looks for."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import robot_dreamer
from robot_dreamer.processes import Options, processes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGE = ElementTree.parse(ROOT / "package.xml").getroot()


def normalised(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_name_and_version_are_the_same_everywhere() -> None:
    assert PROJECT["project"]["name"] == PACKAGE.findtext("name") == "robot_dreamer"
    assert PACKAGE.findtext("version") == robot_dreamer.__version__


def test_every_requirement_is_pinned() -> None:
    pinned = {normalised(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1].isalnum()}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    wanted += [line for name, lines in extras.items() if name != "onnx-gpu" for line in lines]
    assert not {normalised(line) for line in wanted} - pinned


def test_the_learner_has_what_judges_its_bundles() -> None:
    """It is imported when ten episodes are over: whoever lacks it would learn until then."""
    assert "scipy" in map(normalised, PROJECT["project"]["optional-dependencies"]["learner"])


def test_robot_side_needs_little() -> None:
    assert {normalised(r) for r in PROJECT["project"]["dependencies"]} == {"numpy", "msgspec", "pyyaml", "pyzmq"}


def test_ros_names_that_belong_to_others_are_not_required() -> None:
    """On PyPI `launch` and `rclpy` are not ROS 2's."""
    lines = [*PROJECT["project"]["dependencies"], *sum(PROJECT["project"]["optional-dependencies"].values(), [])]
    assert not {normalised(line) for line in lines} & {"launch", "launch-ros", "rclpy", "ros2cli"}


def test_every_program_has_an_executable_that_starts_its_module() -> None:
    listed = PROJECT["tool"]["setuptools"]["data-files"]["lib/robot_dreamer"]
    table = processes(Options("cartpole", Path("runs/x")))
    assert sorted(listed) == sorted(f"scripts/{process.executable}" for process in table)
    for process in table:
        script = ROOT / "scripts" / process.executable
        assert os.access(script, os.X_OK)
        assert script.read_text().count(f"-m {' '.join(process.module)} ") == 2
        source = ROOT / (process.module[0].replace(".", "/") + ".py")
        functions = [n.name for n in ast.parse(source.read_text()).body if isinstance(n, ast.FunctionDef)]
        assert "main" in functions


@pytest.mark.parametrize("executable", ["policy_node", "sim_robot", "learner"])
def test_executables_choose_the_python_beside_them(tmp_path: Path, executable: str) -> None:
    """Installed in <prefix>/lib/robot_dreamer, a script takes <prefix>/bin/python3 without any environment."""
    script = tmp_path / "lib" / "robot_dreamer" / executable
    python = tmp_path / "bin" / "python3"
    script.parent.mkdir(parents=True)
    python.parent.mkdir()
    script.write_bytes((ROOT / "scripts" / executable).read_bytes())
    python.write_text('#!/bin/sh\necho "$0" "$@"\n')
    script.chmod(0o755)
    python.chmod(0o755)
    found = subprocess.run([script, "--x", "a b"], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert found.stdout.startswith(f"{python} -m ") and found.stdout.endswith(" --x a b\n")


def test_no_package_hides_ros_launch() -> None:
    assert not (ROOT / "launch" / "__init__.py").exists()
    assert not (ROOT / "setup.cfg").read_text().count("[metadata]"), "metadata belongs in pyproject.toml"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as pip builds it, without build isolation, so that no network is needed."""
    pytest.importorskip("setuptools", "64")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
            (source / name).chmod((ROOT / name).stat().st_mode)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "-w", str(folder), str(source)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("robot_dreamer-*.whl")))


def test_the_wheel_holds_what_ros_looks_for(wheel: zipfile.ZipFile) -> None:
    files = {info.filename: info for info in wheel.infolist()}
    data = f"robot_dreamer-{robot_dreamer.__version__}.data/data/"
    shared = {name.removeprefix(data) for name in files if name.startswith(data)}
    assert shared == {
        "share/ament_index/resource_index/packages/robot_dreamer",
        "share/robot_dreamer/package.xml",
        "share/robot_dreamer/pyproject.toml",
        *(f"share/robot_dreamer/launch/{name}.launch.py" for name in ("train", "sim", "deploy")),
        *(f"lib/robot_dreamer/{name}" for name in ("policy_node", "sim_robot", "learner")),
    }
    for name in ("policy_node", "sim_robot", "learner"):
        mode = files[f"{data}lib/robot_dreamer/{name}"].external_attr >> 16
        assert mode & 0o111 == 0o111, f"{name} is not executable"


def test_the_wheel_holds_every_data_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    files = set(wheel.namelist())
    for folder in ("robot_dreamer", "ros_nodes", "sim", "export"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml", ".xml", ".typed", ".j2"):
                assert str(path.relative_to(ROOT)) in files
    assert not [name for name in files if name.startswith(("tests/", "launch/", "benchmarks/", "docs/"))]


def test_ros_in_an_active_virtual_environment_is_not_taken_for_a_sourced_one(tmp_path: Path) -> None:
    script = (ROOT / "scripts" / "make_environment.sh").read_text()
    function = next(line for line in script.splitlines() if line.startswith("sourced() {"))

    def sourced(**environment: str) -> bool:
        command = ["bash", "-c", f'{function}\nsourced "$0"', sys.executable]
        return subprocess.run(command, env=os.environ | environment, check=False).returncode == 0

    (tmp_path / "rclpy.py").touch()
    assert sourced(PYTHONPATH=str(tmp_path))  # as setup.bash does
    rclpy = pytest.importorskip("rclpy")
    if sys.prefix == sys.base_prefix or not rclpy.__file__.startswith(sys.prefix):
        pytest.skip("rclpy is not of this virtual environment")
    assert not sourced()
