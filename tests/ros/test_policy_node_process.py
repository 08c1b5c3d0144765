"""The policy node as a process: how it starts, ends and keeps its experience."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from robot_dreamer.link.robot import RobotLink
from ros_nodes.policy_node import PolicyNode, main
from tests.onboard_models import TOY, endless, make_bundle, make_foreign_bundle, toy_spec
from tests.ros.conftest import Ros
from tests.ros.fake_robot import FakeRobot
from tests.ros.stage import MOVES, make_node

_DOWN_AND_UP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE
NOBODY = "tcp://127.0.0.1:9"  # the discard port: no learner there


class Process:
    """`python -m ros_nodes.policy_node` with parameters; stderr goes to a file."""

    def __init__(self, folder: Path, **parameters: Any) -> None:
        self.log = folder / "policy_node.log"
        command = [sys.executable, "-m", "ros_nodes.policy_node", "--ros-args"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={value}"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))

    def wait(self) -> int:
        return self.process.wait(60)

    @property
    def text(self) -> str:
        return self.log.read_text()


def told(folder: Path, **parameters: Any) -> dict[str, Any]:
    """The parameters of a node in lockstep for the robot of toy.yaml."""
    return {"robot": folder / "toy.yaml", "clock": "lockstep", "logdir": folder / "link"} | MOVES | parameters


@pytest.fixture
def start(tmp_path: Path, ros_domain: int) -> Iterator[Callable[..., Process]]:
    (tmp_path / "toy.yaml").write_text(TOY)
    processes: list[Process] = []

    def begin(**parameters: Any) -> Process:
        processes.append(Process(tmp_path, **told(tmp_path, **parameters)))
        return processes[-1]

    yield begin
    for process in processes:
        process.process.kill()
        process.process.wait()


@pytest.fixture
def refusal(tmp_path: Path, ros_domain: int, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What the program says that cannot begin; it is called here, for a process of its own takes seconds to start."""
    (tmp_path / "toy.yaml").write_text(TOY)

    def refused(**parameters: Any) -> str:
        words = [word for name, value in told(tmp_path, **parameters).items() for word in ("-p", f"{name}:={value}")]
        assert main(["--ros-args", *words]) == 2
        return capfd.readouterr().err

    return refused


@pytest.mark.usefixtures("in_a_terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_means_neutral_command_flushed_link_and_status_0(
    start: Callable[..., Process], ros: Ros, tmp_path: Path, number: signal.Signals
) -> None:
    robot = ros.add(FakeRobot(ros.context))
    process = start(learner=NOBODY)
    ros.until(lambda: len(robot.answered) >= 20, "steps without a learner", each=robot.poke)
    process.process.send_signal(number)
    ros.until(lambda: robot.commands[-1] == ("", [0.0, 0.0]), "the neutral command", each=robot.poke)
    assert process.wait() == 0
    assert "Traceback" not in process.text
    link = RobotLink(toy_spec(), "toy", tmp_path / "link", None)  # the spool is free, and holds what was lived through
    rows = link.status().spooled
    link.start()
    link.stop()
    actions = len({tick for tick, _ in robot.answered})
    assert actions <= rows <= actions * 6 / 5 + 2  # an episode of 5 actions has 6 rows


def test_who_was_deactivated_may_be_activated_at_once(start: Callable[..., Process], ros: Ros) -> None:
    """Its own publishers of a moment ago are no rival."""
    robot = ros.add(FakeRobot(ros.context))
    process = start(clock="realtime")
    life = robot.create_client(ChangeState, "policy/change_state")
    down, up = (ChangeState.Request(transition=Transition(id=number)) for number in _DOWN_AND_UP)
    for _ in range(4):
        before = len(robot.commands)
        ros.until(lambda before=before: len(robot.commands) > before + 5, "commands", each=robot.poke)
        answers = [life.call_async(down), life.call_async(up)]
        ros.until(lambda answers=answers: all(a.done() for a in answers), "both answers", each=robot.poke)
        assert all(answer.result().success for answer in answers), process.text


def test_a_signal_ends_a_node_that_was_shut_down_before(start: Callable[..., Process], ros: Ros) -> None:
    robot = ros.add(FakeRobot(ros.context))
    process = start(clock="realtime")
    life = robot.create_client(ChangeState, "policy/change_state")
    ros.until(lambda: len(robot.commands) > 5, "commands", each=robot.poke)
    answer = life.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVE_SHUTDOWN)))
    ros.until(lambda: answer.done() and robot.commands[-1] == ("", [0.0, 0.0]), "the neutral command")
    assert answer.result().success
    process.process.send_signal(signal.SIGTERM)
    assert process.wait() == 0 and "Traceback" not in process.text, process.text


def test_an_absent_learner_is_said_and_does_not_matter(start: Callable[..., Process], ros: Ros) -> None:
    robot = ros.add(FakeRobot(ros.context))
    process = start(learner=NOBODY)
    ros.until(lambda: f"no learner at {NOBODY}" in process.text, "the warning", each=robot.poke)
    assert "rows are kept here" in process.text
    ros.until(lambda: len(robot.answered) > 5, "actions all the same", each=robot.poke)


def test_without_a_robot_it_says_which_topics_are_missing(start: Callable[..., Process]) -> None:
    process = start(clock="realtime")
    deadline = time.monotonic() + 30
    while "nobody publishes /joint_states; nobody publishes /task" not in process.text:
        assert time.monotonic() < deadline and process.process.poll() is None, process.text
        time.sleep(0.05)
    process.process.send_signal(signal.SIGINT)
    assert process.wait() == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"robot": "nonesuch"}, "unknown robot 'nonesuch'; known: "),
        ({"spool_rule": "burn"}, "parameter spool_rule: expected drop_oldest or stop, found 'burn'"),
        ({"clock": "sundial"}, "parameter clock: expected realtime or lockstep, found 'sundial'"),
        ({"threads": 0}, "parameter threads"),
        ({"robot_id": 7}, "parameter robot_id: expected a text, found 7"),
        ({"e_stop_timout": 0.5}, "unknown parameter 'e_stop_timout'; did you mean e_stop_timeout?"),
        ({"bundel": "x"}, "unknown parameter 'bundel'; did you mean bundle?"),
        ({"bundle": "/no/such.bundle"}, "bundle /no/such.bundle: cannot be read: No such file"),
        (
            {"random_actions": False},
            "`bundle` is empty and `logdir` keeps none that acted before: the robot would act at random for ever, "
            "since `learner` is empty too; name a bundle, or say random_actions:=true",
        ),
        (
            {"random_actions": False, "learner": NOBODY},
            "would act at random until the learner sends one; name a bundle",
        ),
        ({"require_gate": True}, "random_actions: expected false with require_gate"),
        ({"trusted_signers": "x"}, "trusted_signers: expected a `bundle`, no `learner` and no `random_actions`"),
        ({"learner": "localhost:5555"}, "address 'localhost:5555' has no scheme: write tcp://localhost:5555"),
        ({"learner": "tcp://192.0.2.1:5555"}, "insecure"),
    ],
)
def test_wrong_parameters_are_named(refusal: Callable[..., str], parameters: dict[str, Any], message: str) -> None:
    assert message in refusal(**parameters)


def test_a_wrong_parameter_is_one_line_and_status_2(start: Callable[..., Process]) -> None:
    process = start(e_stop_timout=0.5)
    assert process.wait() == 2
    assert "did you mean e_stop_timeout?" in process.text and "Traceback" not in process.text, process.text


def test_bundle_of_another_robot_is_refused(refusal: Callable[..., str], tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "other.bundle", toy_spec(rate="100.0"))
    assert "rate: ours 50.0, theirs 100.0" in refusal(bundle=bundle)


def test_a_bundle_without_a_passed_verdict_of_its_own_bytes_is_refused(
    refusal: Callable[..., str], tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "some.bundle", toy_spec())
    shown = refusal(bundle=bundle, require_gate=True, random_actions=False)
    assert "some.bundle.gate.json is missing; robot-dreamer gate" in shown


def test_a_bundle_that_nobody_trusted_has_signed_is_refused(refusal: Callable[..., str], tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "some.bundle", toy_spec())
    shown = refusal(bundle=bundle, trusted_signers=str(tmp_path / "trusted"), random_actions=False)
    assert "some.bundle.signed: No such file or directory; robot-dreamer policy pull" in shown


def test_a_signal_ends_a_node_that_waits_for_the_proof_of_a_bundle(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    process = start(bundle=make_foreign_bundle(tmp_path / "endless.bundle", toy_spec(), endless))
    deadline = time.monotonic() + 30
    children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
    while not children.read_text():
        assert time.monotonic() < deadline and process.process.poll() is None, process.text
        time.sleep(0.01)
    process.process.send_signal(signal.SIGTERM)
    assert process.process.wait(20) == 0  # the proof itself would have 80 s
    assert "bundle endless.bundle: its proof was cut short: the node ends" in process.text


def test_a_managed_node_that_cannot_be_configured_stays_unconfigured(ros: Ros) -> None:
    """With a lifecycle manager it is the manager that decides what comes next."""
    overrides = [Parameter("robot", value="nonesuch"), Parameter("autostart", value=False)]
    node = ros.add(PolicyNode(context=ros.context, parameter_overrides=overrides))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.components is None and node.failure == ""
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE  # it may be tried again


def test_a_node_that_is_destroyed_while_it_acts_ends_its_loop_at_the_neutral_command(ros: Ros, tmp_path: Path) -> None:
    robot = ros.add(FakeRobot(ros.context))
    node = make_node(ros, tmp_path)
    assert node.bring_up()
    ros.until(lambda: len(robot.commands) > 20, "commands", each=robot.poke)
    ros.executor.remove_node(node)
    ros.nodes.remove(node)
    node.destroy_node()
    assert "control-loop" not in [thread.name for thread in threading.enumerate()]
    ros.until(lambda: robot.commands[-1] == ("", [0.0, 0.0]), "the neutral command")
