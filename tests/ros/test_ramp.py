"""The way to the safe pose at an end can be stopped: by topic, by service, with each reaction, however it began."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger

from robot_dreamer.spec.safety import Reaction
from tests.onboard_models import TOY
from tests.ros.button import MATCHES, RELIABLE
from tests.ros.conftest import Ros
from tests.ros.fake_robot import FakeRobot
from tests.ros.stage import Stage
from tests.ros.test_guard import NEUTRAL, person
from tests.ros.test_policy_node_process import Process, start  # noqa: F401
from tests.waiting import until

Make = Callable[..., Stage]
RAMP = 3.0  # seconds from end to end: 150 commands
WAYS = ("topic", "service")
ENDS = ("deactivate", "shutdown")
REACTIONS: tuple[Reaction, ...] = ("stop", "ramp", "hold", "damp")
# each reaction with each way, and with each end, and each way with each end
CASES = [(reaction, way, ENDS[(n + m) % 2]) for n, reaction in enumerate(REACTIONS) for m, way in enumerate(WAYS)]


def ramped(reaction: str, seconds: float = RAMP) -> str:
    return f"{TOY}safety: {{ramp_seconds: {seconds}, reactions: {{e_stop: {reaction}}}}}\n"


class Presser:
    """A person at the stop, with a participant and a thread of their own, who presses after some commands of the ramp.

    Attributes:
      answer: of the service; None: none yet.
      answered: what `now` said when the answer came.
    """

    def __init__(self, ros: Ros, way: str) -> None:
        self.node = ros.stranger()
        self._way = way
        self._executor = SingleThreadedExecutor(context=self.node.context)
        self._executor.add_node(self.node)
        self._publisher = self.node.create_publisher(Bool, "e_stop", RELIABLE) if way == "topic" else None
        self._client = self.node.create_client(Trigger, "policy/e_stop")
        self.answer: Any = None
        self.answered: Any = None
        self._thread: threading.Thread | None = None

    def ready(self) -> bool:
        self._executor.spin_once(timeout_sec=0.01)
        heard = self._publisher is None or self._publisher.get_subscription_count() >= MATCHES["reliable"]
        return heard and bool(self._client.service_is_ready())

    def when(self, condition: Callable[[], object], now: Callable[[], Any]) -> None:
        self._thread = threading.Thread(target=self._press, args=(condition, now))
        self._thread.start()

    def done(self) -> None:
        assert self._thread is not None
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _press(self, condition: Callable[[], object], now: Callable[[], Any]) -> None:
        until(condition, "the moment to press", seconds=20.0, every=0.001)
        if self._publisher is not None:
            self._publisher.publish(Bool(data=True))
            return
        future = self._client.call_async(Trigger.Request())
        until(lambda: self._executor.spin_once(timeout_sec=0.01) or future.done(), "the answer", seconds=5.0)
        self.answer, self.answered = future.result(), now()


def driven(stage: Stage) -> None:
    """Far from neutral, by a person's hand."""
    command = person(stage, [2.0, 1.0])
    stage.until(lambda: stage.controller.running, "an episode")
    stage.also.append(lambda stamp: command())
    stage.until(lambda: stage.sent and stage.sent[-1] == [2.0, 1.0], "the person's command")


@pytest.mark.parametrize(("reaction", "way", "end"), CASES)
def test_a_stop_during_the_ramp_at_an_end_is_obeyed(make: Make, ros: Ros, reaction: str, way: str, end: str) -> None:
    """Nobody spins the node meanwhile: a transition is a callback."""
    stage = make(max_steps=10_000, spec=ramped(reaction))
    heartbeat = stage.watch(Bool, "policy/heartbeat")
    presser = Presser(ros, way)
    stage.until(presser.ready, "the stop to be heard")
    driven(stage)
    guard, begin, running = stage.controller.guard, len(stage.sent), [True]
    heartbeat.clear()
    faults: list[bool] = []  # was the fault latched before this command was asked for?
    toward = guard.limits.toward_neutral

    def note(**how: bool) -> Any:
        faults.append(guard.fault is not None)
        return toward(**how)

    guard.limits.toward_neutral = note
    presser.when(lambda: len(stage.sent) >= begin + 10, lambda: running[0])
    getattr(stage.node, f"trigger_{end}")()
    running[0] = False
    presser.done()
    assert guard.faults["e_stop"] == 1
    latched = begin + faults.count(False)  # of these commands on, the reaction; one that was under way aside
    after = stage.sent[latched + 1 :]
    assert stage.sent[begin + 5] != NEUTRAL and len(stage.sent) >= begin + 10
    if reaction == "ramp":
        assert after[-1] == NEUTRAL and len(after) > 30
    else:
        assert after in ([], [NEUTRAL]) and len(stage.sent) < begin + 100
        assert (stage.sent[-1] == NEUTRAL) == (reaction == "stop")
    if way == "service":
        assert presser.answer.success and "the service e_stop was called" in presser.answer.message
        assert presser.answered or reaction != "ramp"  # in the midst of it
    stage.ros.until(lambda: heartbeat and not heartbeat[-1].data, "the heartbeat's end")
    assert any(beat.data for beat in heartbeat)  # a low level that requires it obeyed the ramp


def test_the_heartbeat_goes_on_during_the_ramp_at_an_end(make: Make) -> None:
    stage = make(max_steps=10_000, spec=ramped("stop"))
    heartbeat = stage.watch(Bool, "policy/heartbeat", 200)
    driven(stage)
    stage.until(lambda: heartbeat, "heartbeats")
    beats: list[bool] = []
    beat = stage.components.runner._parts.heartbeat
    publish = beat._publisher.publish
    beat._publisher = _Noting(beats, publish)
    begin = len(stage.sent)
    stage.node.trigger_deactivate()
    assert len(stage.sent) > begin + 100  # the ramp
    assert beats.count(True) > 30 and not beats[-1]


class _Noting:
    def __init__(self, beats: list[bool], publish: Callable[[Any], None]) -> None:
        self._beats, self._publish = beats, publish

    def publish(self, message: Any) -> None:
        self._beats.append(message.data)
        self._publish(message)


# the other pairs are among CASES, at a shutdown
@pytest.mark.parametrize(("reaction", "way"), [("stop", "topic"), ("damp", "service")])
def test_a_stop_after_sigterm_is_obeyed(
    start: Callable[..., Process],  # noqa: F811
    ros: Ros, tmp_path: Path, reaction: str, way: str,
) -> None:  # fmt: skip
    robot = ros.add(FakeRobot(ros.context))
    (tmp_path / "toy.yaml").write_text(ramped(reaction, 12.0).replace("max_steps: 5", "max_steps: 10000"))
    process = start(clock="realtime")
    presser = Presser(ros, way)
    due = [0.0]

    def poke() -> None:
        if time.monotonic() >= due[0]:
            due[0] = time.monotonic() + 0.01
            robot.tick += 1
            robot.publish()
            teleop.publish(far)

    teleop = robot.create_publisher(Float64MultiArray, "policy/teleop/motor/commands", 1)
    far = Float64MultiArray(data=[2.0, 1.0])
    ros.until(presser.ready, "the node", each=poke)
    ros.until(lambda: robot.commands and robot.commands[-1][1] == [2.0, 1.0], "the person's command", each=poke)
    process.process.send_signal(signal.SIGTERM)
    ros.until(lambda: robot.commands[-1][1] != [2.0, 1.0], "the ramp", each=poke)
    begin = len(robot.commands)
    ros.until(lambda: len(robot.commands) >= begin + 5, "some of it")
    presser.when(lambda: True, lambda: None)
    while process.process.poll() is None:
        ros.executor.spin_once(timeout_sec=0.01)
    presser.done()
    ros.spin(0.2)
    assert process.wait() == 0, process.text
    assert "e_stop" in process.text
    rest = [numbers for _, numbers in robot.commands[begin:]]
    assert len(rest) < 400  # the whole ramp has 600
    assert (rest[-1] == NEUTRAL) == (reaction == "stop")


def test_two_threads_do_not_lead_the_robot_when_the_loop_dies(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dying loop's thread ramps; the node learns of it afterwards, and does not call it hanging meanwhile."""
    stage = make(max_steps=10_000, spec=ramped("stop"))
    driven(stage)

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    begin = len(stage.sent)
    monkeypatch.setattr(stage.controller, "tick", broken)
    stage.until(lambda: stage.components.runner.failure, "the loop's end")
    assert (
        "ZeroDivisionError: a bug" in stage.components.runner.failure and "hangs" not in stage.components.runner.failure
    )
    way = stage.sent[begin:]
    assert way[-1] == NEUTRAL and way.count(NEUTRAL) == 1 and len(way) > 100
    assert stage.controller.guard.fault is None
