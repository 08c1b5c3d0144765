"""The emergency stop, and what the loop leaves to other threads."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from rclpy.impl.rcutils_logger import RcutilsLogger
from std_msgs.msg import Bool

from tests.onboard_models import TOY, make_bundle
from tests.ros.guarded import LONG, NEUTRAL, Make, faulted, goes_on

pytestmark = pytest.mark.usefixtures("proved_here")


@pytest.mark.parametrize("latched", [False, True])
def test_the_emergency_stop_topic(make: Make, latched: bool) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile

    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    stage = make(max_steps=10_000)
    heartbeat = stage.watch(Bool, "policy/heartbeat")
    button = stage.robot.create_publisher(Bool, "e_stop", QoSProfile(depth=1, durability=durability))
    stage.until(lambda: stage.controller.steps >= 2 and button.get_subscription_count() >= 1, "steps")
    button.publish(Bool(data=True))
    assert faulted(stage, "e_stop") == "the emergency stop is pressed (topic e_stop)"
    stage.only(NEUTRAL)
    assert not heartbeat[-1].data and not stage.rows[-1].is_last
    answer = stage.call("policy/clear_fault")
    assert not answer.success and answer.message == "the emergency stop is pressed (topic e_stop)"
    assert stage.controller.guard.fault is not None
    button.publish(Bool(data=False))
    stage.until(lambda: not stage.components.e_stop.pressed, "the release")
    stage.only(NEUTRAL)  # released is not cleared
    goes_on(stage)


def test_an_emergency_stop_that_was_pressed_before_the_node_came(ros: Any, make: Make) -> None:
    from rclpy.qos import DurabilityPolicy, QoSProfile

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    button = ros.stranger().create_publisher(Bool, "e_stop", latched)
    button.publish(Bool(data=True))
    stage = make(automatic=False)
    stage.until(lambda: stage.components.e_stop.pressed, "the latched message")
    faulted(stage, "e_stop")
    assert stage.rows == [] and stage.robot.commands == []


def test_a_silent_emergency_stop_counts_as_pressed(make: Make) -> None:
    stage = make(max_steps=10_000, e_stop_timeout=2.0)
    button = stage.robot.create_publisher(Bool, "e_stop", 1)
    stage.also.append(lambda stamp: button.publish(Bool(data=False)))
    assert faulted(stage, "e_stop") == "topic e_stop has not spoken yet"
    stage.until(lambda: not stage.components.e_stop.buttons.problem(), "to be heard")
    assert stage.robot.commands == []
    goes_on(stage)
    stage.also.clear()
    reason = faulted(stage, "e_stop")
    assert re.fullmatch(r"topic e_stop is silent for \d+\.\d s, allowed 2 s", reason)
    assert "is silent" in stage.call("policy/clear_fault").message


def test_the_emergency_stop_service(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    assert stage.call("policy/e_stop").success
    assert faulted(stage, "e_stop") == "the service e_stop was called"
    stage.only(NEUTRAL)
    goes_on(stage)


@pytest.mark.parametrize("way", ["topic", "service"])
@pytest.mark.parametrize("reaction", ["hold", "ramp"])
def test_the_stop_ends_what_the_reaction_of_another_fault_does(make: Make, way: str, reaction: str) -> None:
    """It holds the last command, or is on a long way to the safe pose: somebody presses, and it stops."""
    spec = f"{TOY}safety: {{ramp_seconds: 20, reactions: {{link: {reaction}, e_stop: stop}}}}\n"
    stage = make(max_steps=10_000, spec=spec)
    heartbeat = stage.watch(Bool, "policy/heartbeat")
    button = stage.robot.create_publisher(Bool, "e_stop", 1)
    stage.until(lambda: stage.controller.steps >= 2 and button.get_subscription_count() >= 1, "steps")
    stage.controller.guard.latch("link", "the disk is full")
    faulted(stage, "link")
    assert stage.sent[-1] != NEUTRAL
    if way == "topic":
        button.publish(Bool(data=True))
        stage.until(lambda: stage.controller.guard.faults["e_stop"], "the press")
    else:
        answer = stage.call("policy/e_stop")
        assert answer.success and answer.message == "stopped: e_stop: the service e_stop was called"
    faulted(stage, "e_stop")
    stage.only(NEUTRAL)
    assert not heartbeat[-1].data


def test_a_clock_that_leaps_forward_cuts_the_episode(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.running and stage.controller.steps >= 2, "an episode")
    stage.robot.tick += 10_000
    stage.until(lambda: stage.controller.abandoned >= 1 and stage.components.observer.clock_jumps >= 1, "the cut")
    stage.until(lambda: stage.rows[-1].stamp_capture > 10_000 * 20_000_000, "rows after it")
    assert next(r for r in stage.rows if r.stamp_capture > 10_000 * 20_000_000).is_first


def test_a_refused_sample_is_counted_by_the_loop_and_said_by_another_thread(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 1, "a step")
    stage.robot.speed = dict.fromkeys(range(1, 100_000), float("nan"))
    stage.until(lambda: stage.controller.refused["message"] >= 1, "a refusal")
    errors: list[str] = []
    stage.until(lambda: errors.append(capfd.readouterr().err) or "samples refused: " in "".join(errors), "the words")
    assert "observation speed: expected finite" in "".join(errors)


def test_the_control_loop_writes_no_log(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger writes to files and terminals, and takes locks: whatever happens, another thread says it."""
    threads: set[str] = set()

    def note(*_: Any, **__: Any) -> None:
        threads.add(threading.current_thread().name)

    monkeypatch.setattr(RcutilsLogger, "log", note)
    monkeypatch.setattr(logging.Logger, "handle", note)
    stage = make(bundle=str(make_bundle(tmp_path / "1.bundle", LONG, 1)), max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    stage.robot.speed = dict.fromkeys(range(1, 100_000), float("nan"))
    stage.until(lambda: stage.controller.refused["message"] >= 1, "a refusal")
    stage.robot.speed = dict.fromkeys(range(1, 100_000), 1.0)
    stage.components.slot.offer(make_bundle(tmp_path / "2.bundle", LONG, 2, nan_above=30.0))
    stage.until(lambda: stage.components.slot.swaps == 1 and stage.rows[-1].policy_version == 2, "the swap")
    stage.robot.speed = dict.fromkeys(range(1, 100_000), 40.0)
    stage.until(lambda: stage.components.slot.rollbacks == 1, "the rollback")
    stage.call("policy/e_stop")
    faulted(stage, "e_stop")
    goes_on(stage)
    stage.speaks = False
    stage.ros.until(lambda: stage.components.runner.phase.name == "WAITING", "to notice the silence")
    assert "MainThread" in threads and "control-loop" not in threads


def test_a_fault_withdraws_the_reset_that_was_asked_for(make: Make) -> None:
    """A robot that stopped must not begin to move because a reset service comes back."""
    stage = make()
    stage.robot.refuse = 1_000_000
    stage.until(lambda: len(stage.robot.resets) >= 1 and stage.components.resetter.retries >= 1, "a refused reset")
    stage.call("policy/e_stop")
    faulted(stage, "e_stop")
    stage.until(
        lambda: not stage.components.resetter.active and stage.components.resetter._future is None, "the withdrawal"
    )
    resets = len(stage.robot.resets)
    stage.ros.spin(1.5, stage.poke)  # it would have been asked again after 1 s
    assert len(stage.robot.resets) == resets
    stage.robot.refuse = 0
    goes_on(stage)
    assert len(stage.robot.resets) > resets
