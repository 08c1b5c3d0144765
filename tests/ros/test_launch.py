"""The launch files, with ROS 2's own launch where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="ROS 2's launch is not installed (it has no wheels)")

from launch import LaunchContext  # noqa: E402
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction  # noqa: E402
from launch.launch_description_sources import get_launch_description_from_python_launch_file  # noqa: E402

from robot_dreamer.processes import launching  # noqa: E402
from robot_dreamer.processes.launch_arguments import ARGUMENTS  # noqa: E402
from robot_dreamer.processes.table import Process  # noqa: E402

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
        assert argument.description == ARGUMENTS[argument.name].description


def test_train_starts_three_programs() -> None:
    arguments, programs = load("train")
    assert set(arguments) == set(ARGUMENTS) - {"policy"}
    found = executables(programs)
    assert len(found) == 3
    for text, name in zip(found, ("learner", "sim_robot", "policy_node"), strict=True):
        assert name in text


def test_train_on_a_robot_with_a_learner_elsewhere_starts_one() -> None:
    elsewhere = {"sim": "false", "clock": "realtime", "learner": "tcp://192.0.2.1:5757"}
    with pytest.raises(ValueError, match="no keys were given"):
        load("train", **elsewhere)
    _, programs = load("train", **elsewhere, insecure="true")
    assert len(programs) == 1
    assert "policy_node" in executables(programs)[0]


def test_deploy_needs_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="bundle"):
        load("deploy")
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(b"-")  # read by the policy node, not by launch
    _, programs = load("deploy", bundle=str(bundle))
    assert len(programs) == 1


def test_deploy_in_simulation_does_not_act_at_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that demands proof of its bundle refuses random actions, and here no argument would take them back."""
    started = list[Process]()
    monkeypatch.setattr(launching, "make_action", started.append)
    (tmp_path / "bundle.zip").write_bytes(b"-")
    load("deploy", bundle=str(tmp_path / "bundle.zip"), sim="true", require_gate="true")
    (node,) = [process for process in started if process.name == "policy_node"]
    assert node.parameters is not None and node.parameters["random_actions"] is False


def test_sim_starts_the_robot_only() -> None:
    _, programs = load("sim")
    assert len(programs) == 1
    assert "sim_robot" in executables(programs)[0]


def test_every_setting_of_the_policy_node_can_be_said_to_deploy(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(b"-")
    arguments, _ = load("deploy", bundle=str(bundle), rollback_episodes="5", provider="cuda", priority="50", core="1")
    assert {"rollback_episodes", "provider", "priority", "core", "policy_threads", "e_stop_timeout"} <= arguments.keys()
    with pytest.raises(ValueError, match="priority: expected a whole number from 0 to 99, found '100'"):
        load("deploy", bundle=str(bundle), priority="100")


# As `ros2 launch` does it: the arguments are those of the command line.
LAUNCHER = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
file, *arguments = sys.argv[1:]
service = LaunchService(argv=arguments)
given = [tuple(argument.split(":=", 1)) for argument in arguments]
source = PythonLaunchDescriptionSource(file)
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=given)]))
sys.exit(service.run())
"""


def launched(tmp_path: Path, file: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
    log = tmp_path / "output"
    environment = os.environ | {"ROS_LOG_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        command = [sys.executable, "-c", LAUNCHER, str(file), *arguments]
        return subprocess.Popen(command, stdout=output, stderr=output, env=environment), log


def wait_for(process: subprocess.Popen[bytes], log: Path, words: str) -> None:
    deadline = time.monotonic() + 60
    while words not in log.read_text():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def test_a_program_that_dies_is_the_launchs_exit_status(ros_domain: int, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("/**: {ros__parameters: {sed: 3}}")
    process, log = launched(tmp_path, LAUNCH / "sim.launch.py", f"params_file:={file}")
    assert process.wait(60) == 1, log.read_text()
    assert "unknown parameter 'sed'; did you mean seed?" in log.read_text()
    assert "sim_robot ended with exit status 2: stopping the rest" in log.read_text()


def test_an_unknown_robot_is_refused_before_anything_starts(ros_domain: int, tmp_path: Path) -> None:
    process, log = launched(tmp_path, LAUNCH / "sim.launch.py", "robot:=hexapod")
    assert process.wait(60) == 1, log.read_text()
    assert "unknown robot 'hexapod'" in log.read_text() and "sim_robot" not in log.read_text()


def test_a_launch_that_a_person_stops_ends_with_0(ros_domain: int, tmp_path: Path) -> None:
    process, log = launched(tmp_path, LAUNCH / "sim.launch.py")
    wait_for(process, log, "robot cartpole, clock realtime")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, log.read_text()


def test_a_killed_program_is_the_launchs_exit_status(ros_domain: int, tmp_path: Path) -> None:
    process, log = launched(tmp_path, LAUNCH / "sim.launch.py")
    wait_for(process, log, "robot cartpole, clock realtime")
    (pid,) = re.findall(r"sim_robot-1\]: process started with pid \[(\d+)\]", log.read_text())
    os.kill(int(pid), signal.SIGKILL)
    assert process.wait(60) == 1, log.read_text()
    assert "sim_robot ended with exit status -9" in log.read_text()


def test_an_unknown_argument_is_refused_before_anything_starts(ros_domain: int, tmp_path: Path) -> None:
    process, log = launched(tmp_path, LAUNCH / "train.launch.py", "robt:=quadruped", "sed:=7")
    assert process.wait(60) == 1
    assert "unknown argument 'robt'; did you mean robot?" in log.read_text()
    assert "process started" not in log.read_text()


def test_arguments_of_a_file_that_includes_ours_are_its_own(ros_domain: int, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.launch.py"
    theirs.write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import IncludeLaunchDescription\n"
        "from launch.launch_description_sources import PythonLaunchDescriptionSource\n"
        "def generate_launch_description():\n"
        f"    source = PythonLaunchDescriptionSource({str(LAUNCH / 'sim.launch.py')!r})\n"
        "    return LaunchDescription([IncludeLaunchDescription(source)])\n"
    )
    process, log = launched(tmp_path, theirs, "colour:=red")
    wait_for(process, log, "robot cartpole, clock realtime")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, log.read_text()


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
