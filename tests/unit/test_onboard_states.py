"""The state machine: every way from state to state, and what the robot gets in each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robot_dreamer.onboard.guard import Guard
from robot_dreamer.onboard.states import DriveState, StateMachine
from robot_dreamer.spec import parse_spec
from tests.onboard_models import TOY

PASSIVE, STAND, POLICY, FAULT = DriveState.PASSIVE, DriveState.STAND, DriveState.POLICY, DriveState.FAULT
TEXT = TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], max_rate: [10.0, 5.0]")  # per tick 0.2 and 0.1
SOURCE = "{topic: j, type: sensor_msgs/msg/JointState, field: position, names: [a, b]}"
POSE = f"watched: [{{name: at, shape: [2], source: {SOURCE}}}]\n"


class Robot:
    """A machine that is stepped as a runner steps it; `out` is what went out last."""

    def __init__(self, safety: str = "{}", automatic: bool = False, watched: str = "") -> None:
        spec = parse_spec(f"{TEXT}{watched}safety: {safety}")
        self.guard = Guard(spec)
        self.machine = StateMachine(spec, self.guard, automatic)
        self.out: list[float] | None = None

    def step(self, observation: Any = None, heard: bool = True, alone: bool = False) -> DriveState:
        state = self.machine.step(heard and not alone, alone)
        if state is not POLICY:
            commands = self.machine.command(observation)
            self.out = None if commands is None else commands["torque"].tolist()
        return state

    def drive_to(self, *numbers: float) -> None:
        self.guard.limits.last = {"torque": np.array(numbers)}


def acting(**options: Any) -> Robot:
    """In POLICY, with a command far from neutral in force."""
    robot = Robot(**options)
    assert robot.machine.want(POLICY) == ""
    assert robot.step() is POLICY
    robot.drive_to(0.4, 0.2)
    return robot


def test_nothing_moves_before_a_person_wants_it() -> None:
    robot = Robot()
    for _ in range(5):
        assert robot.step() is PASSIVE and robot.out is None
    assert not robot.machine.driving and not robot.machine.alive


def test_automatic_goes_straight_to_the_policy() -> None:
    robot = Robot(automatic=True)
    assert robot.step() is POLICY and robot.machine.driving and robot.machine.alive


def test_stand_ramps_to_the_safe_pose_and_stays() -> None:
    robot = acting()
    assert robot.machine.want(STAND) == ""
    shown = []
    for _ in range(4):
        assert robot.step() is STAND
        shown.append(robot.out)
    np.testing.assert_allclose(shown, [[0.2, 0.1], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], atol=1e-12)
    assert robot.machine.want(POLICY) == "" and robot.step() is POLICY


def test_the_policy_waits_for_the_safe_pose() -> None:
    robot = acting()
    robot.machine.want(PASSIVE)
    assert robot.step() is PASSIVE
    robot.machine.want(POLICY)
    assert robot.step() is STAND and robot.out == [0.0, 0.0]
    assert robot.step() is POLICY


def test_passive_reaches_the_safe_pose_and_falls_silent() -> None:
    robot = acting()
    robot.machine.want(PASSIVE)
    shown = []
    for _ in range(4):
        assert robot.step() is PASSIVE
        shown.append(robot.out)
    np.testing.assert_allclose(shown[:2], [[0.2, 0.1], [0.0, 0.0]], atol=1e-12)
    assert shown[2:] == [None, None] and not robot.machine.alive


def test_stand_begins_where_the_robot_is() -> None:
    """A position-controlled robot must not jump to a pose that only this program believes in."""
    robot = Robot(watched=POSE, safety="{pose: {torque: at}}", automatic=True)
    assert robot.step() is STAND and robot.out is None  # nobody knows where it is
    assert robot.step({"at": np.array([1.0, 0.5], np.float32)}) is STAND
    np.testing.assert_allclose(robot.out, [0.8, 0.4])
    steps = 1
    while robot.step({"at": np.array([9.0, 9.0], np.float32)}) is STAND:  # measured once, at the beginning
        steps += 1
    assert steps in (5, 6) and robot.machine.state is POLICY  # one more for the rounding of 0.1


@pytest.mark.parametrize(
    ("reaction", "faulted", "cleared", "alive"),
    [
        ("ramp", [0.2, 0.1], [0.0, 0.0], True),
        ("stop", [0.2, 0.1], None, False),
        ("hold", [0.4, 0.2], [0.4, 0.2], True),
        ("damp", None, None, False),
    ],
)
def test_fault_reacts_latches_and_leads_to_passive(reaction: str, faulted: Any, cleared: Any, alive: bool) -> None:
    robot = acting(safety=f"{{reactions: {{deadline: {reaction}}}}}")
    robot.guard.latch("deadline", "test")
    assert robot.step() is FAULT and robot.machine.alive == alive
    assert robot.out is None if faulted is None else np.allclose(robot.out, faulted)
    assert robot.machine.want(POLICY) == "a fault is latched (deadline: test); clear it first"
    assert robot.step() is FAULT
    robot.guard.clear()
    assert robot.step() is PASSIVE
    assert robot.out is None if cleared is None else np.allclose(robot.out, cleared, atol=1e-12)
    for _ in range(3):
        assert robot.step() is PASSIVE and robot.machine.alive == (reaction == "hold")  # nothing moves by itself
    assert robot.out == ([0.4, 0.2] if reaction == "hold" else None)
    robot.machine.want(POLICY)
    for _ in range(5):
        robot.step()
    assert robot.machine.state is POLICY


@pytest.mark.parametrize(("wish", "end"), [(PASSIVE, None), (STAND, [0.0, 0.0])])
def test_a_cleared_hold_goes_on_until_somebody_asks_for_something(wish: DriveState, end: list[float] | None) -> None:
    """Without its heartbeat a low level that requires one would lead an arm to wherever it leads it."""
    robot = acting(safety="{reactions: {e_stop: hold}}")
    robot.guard.latch("e_stop", "test")
    assert robot.step() is FAULT
    robot.guard.clear()
    for _ in range(5):
        assert robot.step() is PASSIVE and robot.out == [0.4, 0.2] and robot.machine.alive
    assert robot.machine.want(wish) == ""
    shown = [(robot.step(), robot.out) for _ in range(4)]
    np.testing.assert_allclose([out for _, out in shown[:2]], [[0.2, 0.1], [0.0, 0.0]], atol=1e-12)
    assert shown[-1] == (wish, end) and robot.machine.alive == (wish is STAND)


@pytest.mark.parametrize(("reaction", "sent"), [("hold", [0.4, 0.2]), ("damp", None)])
def test_of_a_fault_that_came_and_went_between_two_ticks_hold_and_damp_stay(
    reaction: str, sent: list[float] | None
) -> None:
    robot = acting(safety=f"{{reactions: {{e_stop: {reaction}}}}}")
    robot.guard.latch("e_stop", "a short press")
    robot.guard.clear()
    for _ in range(3):
        assert robot.step() is PASSIVE and robot.out == sent and robot.machine.alive == (reaction == "hold")


def test_a_cleared_stop_ends_its_way_and_no_low_level_obeys_it() -> None:
    robot = acting(safety="{reactions: {e_stop: stop}}")
    robot.guard.latch("e_stop", "test")
    assert robot.step() is FAULT
    robot.guard.clear()
    assert not robot.machine.alive  # the heartbeat goes on between ticks, which may be seconds apart
    assert robot.step() is PASSIVE and not robot.machine.alive
    np.testing.assert_allclose(robot.out, [0.0, 0.0], atol=1e-12)  # a base must not go on with half of its speed
    assert robot.step() is PASSIVE and robot.out is None


@pytest.mark.parametrize("ticks", [1, 4])  # on its way, and at its end
def test_after_a_stop_the_robot_is_looked_at_before_it_is_led(ticks: int) -> None:
    robot = acting_from_a_pose()
    robot.guard.latch("e_stop", "test")
    for _ in range(ticks):
        assert robot.step() is FAULT
    robot.guard.clear()
    assert robot.step() is PASSIVE and not robot.machine.alive
    robot.machine.want(STAND)
    assert robot.step() is STAND and robot.out is None and not robot.machine.alive  # it sank, who knows how far
    robot.step({"at": np.array([1.0, 0.5], np.float32)})
    np.testing.assert_allclose(robot.out, [0.8, 0.4])
    assert robot.machine.alive


def acting_from_a_pose(more: str = "") -> Robot:
    robot = Robot(watched=POSE, safety=f"{{pose: {{torque: at}}{more}}}")
    robot.machine.want(POLICY)
    while robot.step({"at": np.zeros(2, np.float32)}) is not POLICY:
        pass
    robot.drive_to(0.4, 0.2)
    return robot


def test_a_ramp_does_not_go_on_while_nobody_hears_it() -> None:
    """It would begin with a leap for whoever comes back amid it."""
    robot = acting()
    for _ in range(3):
        assert robot.step(alone=True) is PASSIVE and robot.out is None and not robot.machine.alive
    assert robot.step() is STAND  # which is still wanted
    np.testing.assert_allclose(robot.out, [0.2, 0.1])
    robot = acting_from_a_pose()
    robot.step(alone=True)
    robot.step({"at": np.array([1.0, 0.5], np.float32)})  # it has sunk meanwhile
    np.testing.assert_allclose(robot.out, [0.8, 0.4])
    robot = acting()
    robot.machine.want(PASSIVE)
    robot.step(alone=True)
    assert robot.step() is PASSIVE
    np.testing.assert_allclose(robot.out, [0.2, 0.1])  # it still has the last command that it heard


@pytest.mark.parametrize(("reaction", "sent"), [("ramp", [0.8, 0.4]), ("stop", [0.8, 0.4]), ("hold", [1.0, 0.5])])
def test_a_driver_that_starts_again_under_a_fault_does_not_get_what_was_sent_to_it_before(
    reaction: str, sent: list[float]
) -> None:
    led = acting_from_a_pose()
    led.machine.want(PASSIVE)
    faulty = acting_from_a_pose(f", reactions: {{link: {reaction}}}")
    faulty.guard.latch("link", "test")
    for robot, state, first in ((led, PASSIVE, [0.8, 0.4]), (faulty, FAULT, sent)):
        for alone in (False, True, False):
            assert robot.step(alone=alone) is state
        assert robot.out is None and robot.machine.looks  # nobody knows where the robot is
        robot.step({"at": np.array([1.0, 0.5], np.float32)})
        np.testing.assert_allclose(robot.out, first)
        assert not robot.machine.looks and not robot.machine.alive


def test_a_fault_while_nobody_hears_is_reacted_to_once_somebody_does() -> None:
    robot = acting()
    robot.guard.latch("link", "test")
    assert robot.step(alone=True) is FAULT and robot.out is None
    assert robot.step() is FAULT
    np.testing.assert_allclose(robot.out, [0.2, 0.1])


def test_who_hears_some_of_the_commands_is_led_to_the_safe_pose() -> None:
    robot = acting()
    shown = []
    for _ in range(3):
        assert robot.step(heard=False) is PASSIVE
        shown.append(robot.out)
    np.testing.assert_allclose(shown[:2], [[0.2, 0.1], [0.0, 0.0]], atol=1e-12)
    assert shown[2] is None


def test_another_fault_behind_a_stop_wakes_no_low_level() -> None:
    robot = acting(safety="{reactions: {e_stop: stop}}")
    robot.guard.latch("e_stop", "test")
    robot.step()
    robot.guard.clear()
    robot.guard.latch("deadline", "test")  # a ramp
    assert robot.step() is FAULT and not robot.machine.alive
    robot.guard.clear()
    assert robot.step() is PASSIVE and not robot.machine.alive


def test_a_wish_in_the_moment_of_a_fault_is_void(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = acting()

    def fault(guard: Guard) -> None:  # looked for, not found, and there it is
        monkeypatch.undo()
        guard.latch("e_stop", "test")

    monkeypatch.setattr(Guard, "fault", property(fault))
    assert robot.machine.want(POLICY) == ""
    robot.guard.clear()
    assert [robot.step() for _ in range(5)] == [PASSIVE] * 5


def test_a_robot_that_nobody_drove_is_left_alone_by_a_fault() -> None:
    robot = Robot()
    robot.guard.latch("e_stop", "test")
    assert robot.step() is FAULT and robot.out is None
    sent: list[Any] = []
    assert robot.machine.settle(sent.append) and sent == []


def test_automatic_goes_on_after_a_cleared_fault() -> None:
    robot = acting(automatic=True)
    robot.guard.latch("deadline", "test")
    assert robot.step() is FAULT
    robot.guard.clear()
    states = [robot.step() for _ in range(4)]
    assert states[0] is PASSIVE and states[-1] is POLICY


def test_a_fault_that_came_and_went_between_two_ticks_is_seen() -> None:
    robot = acting(automatic=True)
    robot.guard.latch("e_stop", "a short press")
    robot.guard.clear()
    assert robot.step() is PASSIVE  # the episode is cut
    robot = acting()
    robot.guard.latch("e_stop", "a short press")
    robot.guard.clear()
    assert [robot.step() for _ in range(3)] == [PASSIVE] * 3  # and the wish for the policy is void


def test_a_wish_after_clearing_counts_even_before_the_next_tick() -> None:
    robot = acting()
    robot.guard.latch("deadline", "test")
    assert robot.step() is FAULT
    robot.guard.clear()
    assert robot.machine.want(POLICY) == ""
    for _ in range(5):
        robot.step()
    assert robot.machine.state is POLICY


def test_stand_looks_at_the_robot() -> None:
    robot = Robot(safety="{limits: [{observation: speed, high: [3.0]}]}")
    robot.machine.want(STAND)
    assert robot.step({"speed": np.array([0.0])}) is STAND and robot.out == [0.0, 0.0]
    robot.drive_to(0.4, 0.0)
    robot.step({"speed": np.array([5.0])})
    np.testing.assert_allclose(robot.out, [0.2, 0.0])  # already the reaction
    assert robot.step() is FAULT


@pytest.mark.parametrize(("reaction", "sent"), [("ramp", 2), ("stop", 2), ("hold", 0), ("damp", 0)])
def test_settle_respects_the_reaction(reaction: str, sent: int) -> None:
    robot = acting(safety=f"{{reactions: {{link: {reaction}}}}}")
    robot.guard.latch("link", "test")
    out: list[Any] = []
    assert robot.machine.settle(out.append, lambda seconds: None)
    assert len(out) == sent and not robot.machine.driving


def test_who_ticks_again_begins_anew() -> None:
    robot = acting()
    assert robot.machine.settle(lambda commands: None, lambda seconds: None)
    assert [robot.step() for _ in range(3)] == [PASSIVE] * 3 and robot.out is None
