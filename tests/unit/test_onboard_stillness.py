"""Readings that stand still to the last bit while commands change latch a fault; a robot that stands still does not."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from robot_dreamer.onboard.guard import Guard
from robot_dreamer.spec import RobotSpec, SpecError, parse_spec
from robot_dreamer.spec.safety import Frozen, Safety
from tests.onboard_models import TOY, discrete_spec, toy_spec

CAMERA = TOY.replace(
    "actions:",
    """  - {name: picture, shape: [4, 4, 3], dtype: uint8,
     source: {topic: camera, type: sensor_msgs/msg/Image, field: data}}
  - {name: turning, shape: [3], source: {topic: imu, type: sensor_msgs/msg/Imu, field: angular_velocity}}
actions:""",
)
SPEC = parse_spec(CAMERA)


def watching(spec: RobotSpec, *names: str) -> RobotSpec:
    frozen = tuple(Frozen(name, 1.0) for name in names)
    return msgspec.structs.replace(spec, safety=Safety(frozen=frozen))


def drive(guard: Guard, spec: RobotSpec, frozen: str, commands: str = "changing", ticks: int = 100) -> str:
    """A second is 50 ticks. Everything but `frozen` changes."""
    rng = np.random.default_rng(0)
    for n in range(ticks):
        observation = {o.name: np.full(o.shape, 0 if o.name == frozen else n % 7, o.dtype) for o in spec.quantities}
        fault = guard.inspect(observation)
        if fault is not None:
            assert n == 51 or n == 50
            return str(fault)
        low, high = (-1.0, 1.0) if commands == "changing" else (0.5, 0.5 + 1e-4)
        guard.check({a.name: a.to_command(np.asarray(rng.uniform(low, high, a.shape))) for a in spec.actions})
    return ""


@pytest.mark.parametrize("name", ["angle", "speed", "picture", "turning"])
def test_each_kind_of_sensor_that_stands_still_latches(name: str) -> None:
    spec = watching(SPEC, "angle", "speed", "picture", "turning")
    guard = Guard(spec)
    found = drive(guard, spec, name)
    assert found == f"frozen: {name} has not changed for 1 s of changing commands, allowed 1 s"
    assert guard.faults["frozen"] == 1


def test_a_robot_that_truly_stands_still_and_one_that_moves_do_not_latch() -> None:
    spec = watching(SPEC, "angle", "picture")
    assert drive(Guard(spec), spec, "angle", commands="the same", ticks=300) == ""
    assert drive(Guard(spec), spec, "nothing", ticks=300) == ""
    assert drive(Guard(SPEC), SPEC, "angle", ticks=300) == ""


def test_gears_that_change_count_as_commands_too() -> None:
    spec = watching(discrete_spec(), "speed")
    guard = Guard(spec)
    for n in range(60):
        guard.inspect({o.name: np.full(o.shape, 0.5, o.dtype) for o in spec.quantities})
        guard.check({"gear": np.array([float(n % 2)])})
    assert guard.fault is not None and guard.fault.rule == "frozen"


def test_an_episode_that_begins_does_not_forget() -> None:
    spec = watching(SPEC, "speed")
    guard = Guard(spec)
    assert drive(guard, spec, "speed", ticks=30) == ""
    guard.begin()
    observation = {o.name: np.zeros(o.shape, o.dtype) for o in spec.quantities}
    for n in range(40):
        guard.inspect(observation)
        guard.check({"torque": np.array([float(n % 2), 0.0])})
    assert guard.fault is not None


def test_a_cleared_fault_does_not_latch_before_the_robot_has_moved() -> None:
    """Motors were off: the readings are the same until it moves again, and STAND looks at them before that."""
    spec = watching(SPEC, "speed")
    guard = Guard(spec)
    assert drive(guard, spec, "speed")
    guard.clear()
    observation = {o.name: np.zeros(o.shape, o.dtype) for o in spec.quantities}
    found = []
    for n in range(60):
        found.append(guard.inspect(observation) is None)
        guard.check({"torque": np.array([float(n % 2), 0.0])})
    assert all(found[:40]) and guard.fault is not None  # as long again


def test_one_rule_is_written_without_a_list_and_its_mistakes_are_named() -> None:
    section = "safety: {frozen: {observation: speed, seconds: 2.0}}"
    spec = parse_spec(TOY + section)
    assert spec.safety.frozens == (Frozen("speed", 2.0),) and spec.hash == toy_spec().hash
    with pytest.raises(SpecError, match="no observation or watched quantity is called 'sped'; known: angle, speed"):
        parse_spec(TOY + section.replace("speed", "sped"))
    with pytest.raises(SpecError, match="seconds must be positive"):
        parse_spec(TOY + section.replace("2.0", "0"))
