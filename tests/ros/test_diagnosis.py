"""Levels and lines of `/diagnostics`: what is wrong is seen there, and no longer than it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from robot_dreamer.spec import parse_spec
from tests.onboard_models import TOY, make_bundle, toy_spec
from tests.ros.stage import Stage

pytestmark = pytest.mark.usefixtures("proved_here", "reported_often")
Make = Callable[..., Stage]
LONG = parse_spec(TOY.replace("max_steps: 5", "max_steps: 10000"))


class Board:
    """What the node said last of one of its parts."""

    def __init__(self, stage: Stage, part: str) -> None:
        self._stage = stage
        self._part = part
        self._seen = stage.watch(DiagnosticArray, "/diagnostics")

    @property
    def status(self) -> DiagnosticStatus:
        return next(s for s in self._seen[-1].status if s.name == f"policy: {self._part}")

    def shows(self, level: bytes, words: str = "") -> None:
        """Wait for it."""
        self._stage.until(
            lambda: self._seen and self.status.level == level and words in self.status.message,
            f"level {level!r} with {words!r}",
        )


def test_refused_samples_are_a_warning_until_they_end(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.robot.clock = time.time_ns
    board = Board(stage, "sensors")
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    board.shows(DiagnosticStatus.OK)
    stage.robot.speed = dict.fromkeys(range(1, 100_000), float("nan"))
    board.shows(DiagnosticStatus.WARN, "samples refused; the last: observation speed: expected finite")
    stage.robot.speed = {}
    board.shows(DiagnosticStatus.OK)


@pytest.mark.parametrize("offset", [-30_000.0, -5.0, -0.3, 0.0, 0.3, 3500.0, 4000.0])
def test_ages_that_cannot_be_told_are_a_warning_with_the_number(make: Make, offset: float) -> None:
    stage = make(max_steps=10_000, max_age=4000.0)
    board = Board(stage, "sensors")
    stage.robot.clock = lambda: time.time_ns() - round(offset * 1e9)
    if 0.0 <= offset <= 3600.0:
        board.shows(DiagnosticStatus.OK)
    else:
        where = "ahead of" if offset < 0 else "behind"
        board.shows(DiagnosticStatus.WARN, "ages cannot be told: joint_states (its stamps are ")
        assert f" s {where} our clock" in board.status.message
    found = {v.key: float(v.value) for v in board.status.values}
    assert found["offset joint_states"] == pytest.approx(offset, abs=0.05, rel=0.01)


def test_a_sensor_that_gives_nothing_new_for_many_ticks_is_a_warning(make: Make) -> None:
    stage = make(max_steps=10_000, max_age=60.0)
    stage.robot.clock = time.time_ns
    board = Board(stage, "sensors")
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    board.shows(DiagnosticStatus.OK)
    stage.speaks = False
    board.shows(DiagnosticStatus.WARN, "samples in a row were the same")


def test_silent_sensors_are_an_error(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.robot.clock = time.time_ns
    board, loop = Board(stage, "sensors"), Board(stage, "control loop")
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    stage.speaks = False
    board.shows(DiagnosticStatus.ERROR, "joint_states (silent for ")
    loop.shows(DiagnosticStatus.WARN, "no fresh messages from joint_states")
    stage.speaks = True
    board.shows(DiagnosticStatus.OK)
    loop.shows(DiagnosticStatus.OK, "running")


def test_a_reading_that_stands_still_while_commands_change_is_a_warning(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.robot.clock = time.time_ns
    board = Board(stage, "sensors")
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    stage.robot.speed = dict.fromkeys(range(100_000), 5.0)
    board.shows(DiagnosticStatus.WARN, "speed has not changed for ")
    assert "angle" not in board.status.message
    stage.robot.speed = {}
    board.shows(DiagnosticStatus.OK)


def test_a_joint_that_is_missing_is_named(make: Make) -> None:
    stage = make(max_steps=10_000, spec=TOY.replace("names: [hinge]", "names: [knee]"))
    board = Board(stage, "sensors")
    board.shows(DiagnosticStatus.WARN, "topic joint_states: joint knee is missing, found other, hinge")


def test_a_refused_bundle_is_a_warning_until_one_takes_over(make: Make, tmp_path: Path) -> None:
    stage = make(bundle=str(make_bundle(tmp_path / "1.bundle", LONG, 1)), max_steps=10_000)
    board = Board(stage, "policy")
    board.shows(DiagnosticStatus.OK, "bundle")
    stage.components.slot.offer(make_bundle(tmp_path / "other.bundle", toy_spec(rate="100.0"), 2))
    board.shows(DiagnosticStatus.WARN, "rate: ours 50.0, theirs 100.0")
    stage.components.slot.offer(make_bundle(tmp_path / "3.bundle", LONG, 3))
    board.shows(DiagnosticStatus.OK, "bundle")
    assert stage.components.slot.current.version == 3


def test_a_policy_that_is_sent_back_is_a_warning(make: Make, tmp_path: Path) -> None:
    stage = make(bundle=str(make_bundle(tmp_path / "1.bundle", LONG, 1)), max_steps=10_000)
    board = Board(stage, "policy")
    stage.robot.speed = dict.fromkeys(range(1, 100_000), 1.0)
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    stage.components.slot.offer(make_bundle(tmp_path / "2.bundle", LONG, 2, nan_above=30.0))
    stage.until(lambda: stage.components.slot.swaps == 1, "the swap")
    stage.robot.speed = dict.fromkeys(range(1, 100_000), 40.0)
    board.shows(DiagnosticStatus.WARN, "policy 2 failed, back to policy 1")


def test_a_provider_that_cannot_be_had_is_a_warning(make: Make, tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    stage = make(bundle=str(make_bundle(tmp_path / "1.bundle", LONG, 1)), max_steps=10_000, provider="cuda")
    board = Board(stage, "policy")
    board.shows(DiagnosticStatus.WARN, "cuda")
    values = {v.key: v.value for v in board.status.values}
    assert values["fallback"] == board.status.message
