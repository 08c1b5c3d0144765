"""`robot-dreamer check` of arms that call their joints the same, as leader and follower do; of a joint shown twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robot_dreamer.preflight.evidence import Evidence
from robot_dreamer.preflight.findings import Weight
from robot_dreamer.preflight.joints import shows
from robot_dreamer.preflight.judge import findings_of
from robot_dreamer.preflight.motions import SECONDS, Places, motions_of, standing, wave
from robot_dreamer.preflight.wiggle import Trial, trial_findings
from robot_dreamer.spec import RobotSpec, parse_spec

QUANTITY = """
  - {{name: {arm}_{field}, shape: [2], unit: {unit}, range: [-9.0, 9.0],
     source: {{topic: {arm}/joint_states, type: sensor_msgs/msg/JointState, field: {field}, names: [a, b]}}}}"""
ACTION = """
  - {{name: {arm}, unit: rad, low: {low}, high: [1.6, 1.6], command: {{topic: {arm}/commands, names: [a, b]}}}}"""
END = """
reward: {expression: "norm(left_position)"}
episode: {max_steps: 100}
safety: {limits: [{observation: left_position, high: [9.0, 9.0]}]POSE}
"""
POSE = ", pose: {left: left_position, right: right_position}"
CROSSED = ", pose: {left: right_position, right: left_position}"


def two_arms(pose: str) -> RobotSpec:
    """Each with a topic and limits of its own; the velocity of the left one stands before both of the right one."""
    units = {"position": "rad", "velocity": "rad/s"}
    seen = [QUANTITY.format(arm=a, field=f, unit=u) for a in ("left", "right") for f, u in units.items()]
    does = [ACTION.format(arm="left", low="[-1.6, -1.6]"), ACTION.format(arm="right", low="[-0.2, -0.2]")]
    head = f"name: arms\nrate: 20.0\nobservations:{''.join(seen)}\nactions:{''.join(does)}"
    return parse_spec(head + END.replace("POSE", pose))


def message(time: int, position: Any, velocity: Any = ()) -> Any:
    stamp = SimpleNamespace(sec=time // 10**9, nanosec=time % 10**9)
    header = SimpleNamespace(stamp=stamp, frame_id="")
    return SimpleNamespace(header=header, name=["a", "b"], position=list(position), velocity=list(velocity))


def heard(spec: RobotSpec) -> Evidence:
    """The right arm goes the other way than the left one, and each where it is sent."""
    evidence = Evidence(spec)
    for n in range(200):
        time, t = 1_700_000_000_000_000_000 + n * 20_000_000, n / 50
        for arm, sign, middle in (("left", 1.0, 0.0), ("right", -1.0, 0.7)):
            place, speed = sign * 0.8 * np.sin([3 * t, 4 * t]), sign * 0.8 * np.array([3, 4]) * np.cos([3 * t, 4 * t])
            evidence.hear(f"{arm}/joint_states", message(time, place + middle, speed), time)
            command = SimpleNamespace(layout=SimpleNamespace(dim=[]), data=(place + middle).tolist())
            evidence.hear(f"{arm}/commands", command, time)
    return evidence


@pytest.mark.parametrize("pose", ["", POSE])
def test_one_arm_is_not_compared_with_what_the_other_one_does(pose: str) -> None:
    findings = list(findings_of(heard(two_arms(pose)), 4.0))
    assert [str(f) for f in findings if f.weight is Weight.STOP] == []
    notes = " ".join(f"{f.where}: {f.found}" for f in findings if f.weight is Weight.NOTE)
    assert "observation right_position: agrees with observation right_velocity in sign and scale: a, b" in notes


def test_an_arm_beyond_its_own_limits_is_named_where_it_is_known_which_is_which() -> None:
    stops = [f.found for f in findings_of(heard(two_arms(CROSSED)), 4.0) if f.weight is Weight.STOP]
    assert any("action right says -0.2 to 1.6" in found for found in stops)


def test_a_position_command_begins_where_its_own_arm_stands() -> None:
    with pytest.raises(ValueError, match=r"action left: no quantity .* where two topics have joints of these names"):
        motions_of(two_arms(""))
    spec = two_arms(POSE)
    left, right = spec.actions
    assert [q.name for q in (standing(spec, left), standing(spec, right)) if q] == ["left_position", "right_position"]
    places = Places(spec)
    places.hear("left/joint_states", message(1, [0.1, 0.2]))
    places.hear("right/joint_states", message(1, [1.1, 1.2]))
    assert places.now["left_position", "a"] == 0.1 and places.now["right_position", "a"] == 1.1


def test_a_gripper_that_is_shown_in_metres_too_stands_where_its_angle_says() -> None:
    spec = parse_spec(
        "name: gripper\nrate: 20.0\nobservations:"
        + QUANTITY.format(arm="left", field="position", unit="rad")
        + "\n  - {name: opening, shape: [1], unit: m, scale: [-0.05], offset: [0.04], source:"
        + " {topic: left/joint_states, type: sensor_msgs/msg/JointState, field: position, names: [b]}}\nactions:"
        + ACTION.format(arm="left", low="[-1.6, -1.6]")
        + END.replace("POSE", "")
    )
    places, shown = Places(spec), standing(spec, spec.actions[0])
    places.hear("left/joint_states", message(1, [0.1, 0.6]))
    assert shown is not None and places.now[shown.name, "b"] == 0.6


@pytest.mark.parametrize(
    ("moved", "weight", "words"),
    [
        ("right", Weight.NOTE, "it follows its command"),
        ("left", Weight.STOP, "swapped: a of left/joint_states moved when a was commanded"),
    ],
)
def test_a_wiggled_arm_is_known_from_the_other_one(moved: str, weight: Weight, words: str) -> None:
    spec = two_arms(POSE)
    motion = next(m for m in motions_of(spec) if m.action == "right" and m.name == "a")
    times = np.arange(0.0, SECONDS + 0.6, 0.01)
    commands = [motion.amplitude * wave(t) for t in times]
    trial = Trial(motion, Evidence(spec), times.tolist(), commands)
    noise = np.random.default_rng(0).normal(0, 1e-4, 600)
    for n, (t, command) in enumerate(zip(times, commands, strict=True)):
        time = round(t * 1e9) + 1
        for arm in ("left", "right"):
            place = [command * (arm == moved) + noise[n], noise[n + 300]]
            trial.evidence.hear(f"{arm}/joint_states", message(time, place), time)
    found = next(iter(trial_findings(trial, "y")))
    assert found.weight is weight and words in found.found


def test_joints_of_one_arm_on_several_topics_are_its_own() -> None:
    arm = QUANTITY.format(arm="left", field="position", unit="rad")
    hand = arm.replace("left_position", "hand").replace("left/joint", "hand/joint").replace("[a, b]", "[c, d]")
    limits = "low: [-1, -1, -1, -1], high: [1, 1, 1, 1]"
    action = f"\n  - {{name: all, unit: rad, {limits}, command: {{topic: commands, names: [a, b, c, d]}}}}"
    head = f"name: parts\nrate: 20.0\nobservations:{arm}{hand}\nactions:{action}"
    spec = parse_spec(head + END.replace("POSE", ""))
    assert all(shows(spec, quantity, spec.actions[0]) for quantity in spec.quantities)
