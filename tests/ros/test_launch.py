"""The launch files, with ROS 2's own launch where it is installed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="ROS 2's launch is not installed (it has no wheels)")

from launch import LaunchContext  # noqa: E402
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction  # noqa: E402
from launch.launch_description_sources import get_launch_description_from_python_launch_file  # noqa: E402

from robot_dreamer.processes.launch_arguments import ARGUMENTS  # noqa: E402

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
FILES = sorted(LAUNCH.glob("*.launch.py"))


def load(name: str, **given: str) -> tuple[dict[str, DeclareLaunchArgument], list[ExecuteProcess]]:
    """Declared arguments, and the programs that would start with the given ones."""
    description = get_launch_description_from_python_launch_file(str(LAUNCH / f"{name}.launch.py"))
    context = LaunchContext()
    context.launch_configurations.update(given)
    arguments, programs = {}, []
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            arguments[entity.name] = entity
            entity.visit(context)
        if isinstance(entity, OpaqueFunction):
            programs += entity.execute(context) or []
    return arguments, programs


def executables(programs: list[ExecuteProcess]) -> list[str]:
    return [program.cmd[0][0].describe() for program in programs]


def test_there_are_three_files_and_no_package() -> None:
    assert [path.name for path in FILES] == ["deploy.launch.py", "sim.launch.py", "train.launch.py"]
    assert not (LAUNCH / "__init__.py").exists(), "a package named launch hides ROS 2's own"


@pytest.mark.parametrize("name", ["train", "sim"])
def test_every_argument_is_described(name: str) -> None:
    arguments, _ = load(name)
    assert arguments
    for argument in arguments.values():
        assert argument.description == ARGUMENTS[argument.name][1]


def test_train_starts_three_programs() -> None:
    arguments, programs = load("train")
    assert set(arguments) == set(ARGUMENTS) - {"policy"}
    found = executables(programs)
    assert len(found) == 3
    for text, name in zip(found, ("learner", "sim_robot", "policy_node"), strict=True):
        assert name in text


def test_train_on_a_robot_with_a_learner_elsewhere_starts_one() -> None:
    _, programs = load("train", sim="false", clock="realtime", learner="tcp://192.0.2.1:5757")
    assert len(programs) == 1
    assert "policy_node" in executables(programs)[0]


def test_deploy_needs_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="bundle"):
        load("deploy")
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(b"-")  # read by the policy node, not by launch
    _, programs = load("deploy", bundle=str(bundle))
    assert len(programs) == 1


def test_sim_starts_the_robot_only() -> None:
    _, programs = load("sim")
    assert len(programs) == 1
    assert "sim_robot" in executables(programs)[0]


@pytest.mark.skipif(shutil.which("ros2") is None, reason="no ros2 command")
def test_ros2_launch_starts_and_ends_the_simulated_robot(tmp_path: Path) -> None:
    log = tmp_path / "output"
    with log.open("wb") as output:
        launch = subprocess.Popen(["ros2", "launch", "robot_dreamer", "sim.launch.py"], stdout=output, stderr=output)
    deadline = time.monotonic() + 60
    while "robot cartpole, clock realtime" not in log.read_text():
        assert launch.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    launch.send_signal(signal.SIGINT)
    launch.wait(30)
    assert "process has finished cleanly" in log.read_text(), log.read_text()
