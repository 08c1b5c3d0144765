"""The simulated robot as a process: how it starts, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("dm_control")
from sensor_msgs.msg import JointState

from sim.node import main


def start(*parameters: str) -> subprocess.Popen[str]:
    arguments = [x for p in parameters for x in ("-p", p)]
    command = [sys.executable, "-m", "sim.node", *(["--ros-args", *arguments] if arguments else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("in_a_terminal")
@pytest.mark.parametrize(
    ("clock", "number"), [("lockstep", signal.SIGINT), ("realtime", signal.SIGTERM), ("lockstep", signal.SIGHUP)]
)
def test_signals_end_it_cleanly(ros: Any, clock: str, number: signal.Signals) -> None:
    from rclpy.node import Node

    node = ros.add(Node("listener", context=ros.context))
    heard: list[JointState] = []
    node.create_subscription(JointState, "joint_states", heard.append, 1)
    process = start(f"clock:={clock}")
    try:
        ros.until(lambda: len(heard) > 1 or process.poll() is not None, "sensors")
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "stopped: steps" in errors and "Traceback" not in errors
    assert output == ""


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("SigCgt:"))
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_a_signal_while_it_starts_ends_it_cleanly(ros: Any, delay: float) -> None:
    process = start()
    # SIGTERM's is the second handler that it sets; Python itself starts before that.
    ros.until(lambda: catches(process.pid, signal.SIGTERM), "its handlers")
    time.sleep(delay)  # somewhere among the imports; wherever it hits, the end is the same
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in errors, errors


@pytest.fixture
def refusal(ros_domain: int, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What the program says that cannot begin; it is called here, for a process of its own takes seconds to start."""

    def refused(*arguments: str) -> str:
        assert main(["--ros-args", *arguments]) == 2
        return capfd.readouterr().err

    return refused


@pytest.mark.parametrize(
    "parameter, words",
    [
        ("robot:=hexapod", ["hexapod", "cartpole"]),
        ("clock:=sundial", ["sundial", "lockstep"]),
        ("loss:=2", ["loss", "0.99"]),
        ("speeed:=2", ["unknown parameter 'speeed'", "did you mean speed?"]),
        ("clok:=realtime", ["unknown parameter 'clok'", "did you mean clock?"]),
    ],
)
def test_wrong_parameters_are_named(refusal: Callable[..., str], parameter: str, words: list[str]) -> None:
    errors = refusal("-p", parameter)
    for word in words:
        assert word in errors


def test_a_wrong_parameter_is_one_line_and_status_2(ros_domain: int) -> None:
    process = start("clok:=realtime")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and "did you mean clock?" in errors and "Traceback" not in errors, errors


def test_a_file_of_parameters_is_read_as_strictly(refusal: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text("/**:\n  ros__parameters:\n    use_sim_time: false\n    sed: 3\n")
    assert "unknown parameter 'sed'; did you mean seed?" in refusal("--params-file", str(file))
