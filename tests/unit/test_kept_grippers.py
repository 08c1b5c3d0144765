"""`safety.keep`: the neutral command of a gripper is open, and what it holds must not fall when somebody presses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robot_dreamer.onboard.guard import Guard
from robot_dreamer.onboard.states import DriveState, StateMachine
from robot_dreamer.spec import RobotSpec, load_spec
from robot_dreamer.spec.safety import Rule

OPEN, CLOSED = [0.0425], [0.0]


def carrying(spec: RobotSpec) -> tuple[Guard, StateMachine]:
    """Under the policy, on its way with something between the fingers."""
    guard = Guard(spec)
    machine = StateMachine(spec, guard, automatic=False)
    assert machine.want(DriveState.POLICY) == "" and machine.step() is DriveState.POLICY
    guard.limits.last = {"move": np.array([0.0, 0.08, 0.0]), "gripper": np.array(CLOSED)}
    return guard, machine


def shown(commands: Any) -> dict[str, list[float]]:
    return {name: numbers.tolist() for name, numbers in commands.items()}


@pytest.mark.parametrize("robot", ["ur5_pick", "xarm_pick"])
@pytest.mark.parametrize("rule", ["e_stop", "limit"])
def test_a_fault_stops_the_arm_and_leaves_the_gripper_until_somebody_asks_for_more(robot: str, rule: Rule) -> None:
    guard, machine = carrying(load_spec(robot))
    guard.latch(rule, "test")
    for _ in range(3):
        assert machine.step() is DriveState.FAULT
        assert shown(machine.command()) == {"move": [0.0, 0.0, 0.0], "gripper": CLOSED}
    guard.clear()
    for _ in range(3):
        assert machine.step() is DriveState.PASSIVE
        commands = machine.command()
        assert commands is None or shown(commands)["gripper"] == CLOSED
    assert commands is None and not machine.driving  # at rest: nothing more is sent
    assert machine.want(DriveState.POLICY) == "" and machine.step() is DriveState.STAND
    assert shown(machine.command())["gripper"] == OPEN
    assert machine.step() is DriveState.POLICY


@pytest.mark.parametrize(("latched", "end"), [(True, CLOSED), (False, OPEN)])
def test_an_end_under_a_fault_leaves_it_too(latched: bool, end: list[float]) -> None:
    guard, machine = carrying(load_spec("ur5_pick"))
    if latched:
        guard.latch("e_stop", "test")
    sent: list[dict[str, list[float]]] = []
    assert machine.settle(lambda commands: sent.append(shown(commands)), lambda seconds: None)
    assert sent == [{"move": [0.0, 0.0, 0.0], "gripper": end}]


@pytest.mark.parametrize(("idle", "end"), [(True, CLOSED), (False, OPEN)])
def test_who_takes_over_and_says_nothing_of_the_gripper_drops_nothing(idle: bool, end: list[float]) -> None:
    guard, _ = carrying(load_spec("ur5_pick"))
    neutral = {"move": np.zeros(3), "gripper": np.array(OPEN)}
    out = guard.limits.apply(neutral, {"move": np.array([True]), "gripper": np.array([idle])})
    assert shown(out) == {"move": [0.0, 0.0, 0.0], "gripper": end}


def test_a_driver_that_starts_again_under_a_fault_drops_nothing() -> None:
    guard, _ = carrying(load_spec("ur5_pick"))
    guard.limits.start({}, keep=True)
    assert shown(guard.limits.last) == {"move": [0.0, 0.0, 0.0], "gripper": CLOSED}
