"""`robot-dreamer pilot`: what it hears, what it says, and a stop that waits for nothing; then the program itself."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy")

from std_srvs.srv import Trigger

from robot_dreamer.commands.call import WORDS
from robot_dreamer.onboard.states import DriveState
from ros_nodes.pilot import Pilot, piloting

pytestmark = pytest.mark.usefixtures("reported_often")
NAMES = tuple(WORDS)


@pytest.fixture
def pilot(ros_domain: int) -> Iterator[Pilot]:
    with piloting("/policy", NAMES) as pilot:
        yield pilot


def test_it_hears_the_node_and_each_word_does_what_it_says(make: Callable[..., Any], pilot: Pilot) -> None:
    stage = make(automatic=False, max_steps=10_000, max_age=30.0)
    stage.until(lambda: pilot.heard is not None, "a word from the node")
    assert pilot.parts["guard"][2]["state"] == "passive" and pilot.parts["episodes"][2]["running"] == "False"
    pilot.say("policy")
    stage.until(lambda: stage.controller.steps >= 3, "steps")
    assert ("policy", True, "policy is wanted; it was passive") in pilot.said
    stage.until(lambda: pilot.parts["episodes"][2]["running"] == "True", "the episode shown")
    stage.until(lambda: float(pilot.parts["episodes"][2]["return"]) > 0.0, "a reward of 1 per tick")
    pilot.say("e_stop")
    stage.until(lambda: stage.components.states.state is DriveState.FAULT, "the stop")
    stage.until(lambda: pilot.parts["guard"][0] == 2, "the fault shown")
    assert pilot.parts["guard"][1] == "e_stop: the service e_stop was called" and pilot.unanswered is None
    pilot.say("success")
    stage.until(lambda: pilot.said[-1][0] == "success", "an answer")
    assert pilot.said[-1][1:] == (False, "no episode is running that success could end")


def test_a_stop_is_answered_while_another_word_is_not(make: Callable[..., Any], pilot: Pilot) -> None:
    stage = make(max_steps=10_000, max_age=30.0)
    stage.until(lambda: stage.controller.running and pilot.heard is not None, "an episode")
    pilot.say("stand")  # from here on nobody serves the node's own callbacks
    pilot.say("e_stop")
    deadline = time.monotonic() + 30.0
    while pilot.unanswered is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [word for word, *_ in pilot.said] == ["e_stop"] and pilot.said[-1][1]
    assert stage.controller.guard.fault is not None


def test_a_stop_is_called_until_somebody_answers_and_other_words_are_not(ros: Any, pilot: Pilot) -> None:
    pilot.say("stand")
    assert pilot.said[-1][:2] == ("stand", False) and "nobody offers /policy/stand" in pilot.said[-1][2]
    pilot.say("e_stop")
    node, calls = ros.add(ros.node("late")), []

    def answer(_: Any, response: Any) -> Any:
        calls.append(True)
        response.success, response.message = True, "stopped"
        return response

    node.create_service(Trigger, "policy/e_stop", answer)
    ros.until(lambda: pilot.unanswered is None, "the answer")
    assert calls and pilot.said[-1] == ("e_stop", True, "stopped")
    answers = len(calls)
    ros.spin(0.6)
    assert len(calls) <= answers + 1  # one may have been on its way


def test_another_robots_node_is_not_taken_for_ours(make: Callable[..., Any], ros_domain: int) -> None:
    with piloting("/policy", NAMES) as ours, piloting("/arm1/policy", NAMES) as theirs:
        stage = make(max_age=30.0)
        stage.until(lambda: ours.heard is not None, "a word from the node")
        assert theirs.heard is None and not theirs.parts


class Terminal:
    """The program in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
        self.mode = termios.tcgetattr(slave)
        self.slave = slave
        command = [sys.executable, "-m", "robot_dreamer.cli", "pilot", *arguments]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "140", "LINES": "40"}
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.set_blocking(self._master, False)
        self._seen = b""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    @property
    def text(self) -> str:
        """All that it has shown so far, without colours and cursor movements."""
        try:
            while chunk := os.read(self._master, 65536):
                self._seen += chunk
        except (BlockingIOError, OSError):
            pass
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._seen.decode(errors="replace"))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        os.close(self.slave)


@pytest.fixture
def terminal(ros_domain: int) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


def test_the_program_shows_the_robot_and_obeys_its_keys(
    make: Callable[..., Any], terminal: Callable[..., Terminal]
) -> None:
    stage = make(max_steps=10_000, max_age=30.0)
    console = terminal()
    stage.until(lambda: "/policy · policy" in console.text, "the state")
    shown = console.text
    assert "random actions" in shown and "loop misses" in shown and "space e_stop" in shown
    console.type("\x1b[C\x1b[A?")  # arrows are no capitals, and ? is no key
    console.type(" ")
    stage.until(lambda: stage.controller.guard.fault, "the stop")
    stage.until(lambda: "FAULT e_stop: the service e_stop was called" in console.text, "the fault")
    assert "clear_fault: " not in console.text
    console.type("C")
    stage.until(lambda: stage.controller.guard.fault is None, "cleared")
    stage.until(lambda: "clear_fault: cleared: e_stop" in console.text, "the answer")
    console.type("q")
    stage.until(lambda: console.process.poll() is not None, "the end")
    assert console.process.returncode == 0 and termios.tcgetattr(console.slave) == console.mode


def test_a_stop_that_nobody_answers_is_shouted_and_is_the_exit_status(
    ros: Any, terminal: Callable[..., Terminal]
) -> None:
    console = terminal("--namespace", "arm1")
    ros.until(lambda: "no word from /arm1/policy yet" in console.text, "the panel")
    console.type(" ")
    ros.until(lambda: "STOP asked for" in console.text, "the warning")
    console.process.send_signal(signal.SIGTERM)
    ros.until(lambda: console.process.poll() is not None, "the end")
    assert console.process.returncode == 1 and "has not answered a stop" in console.text
    assert termios.tcgetattr(console.slave) == console.mode
