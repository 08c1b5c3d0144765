"""The wiggle without ROS: how far what may move, what is refused, and what follows from what sensors say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from robot_dreamer.cli import main
from robot_dreamer.preflight.evidence import Evidence
from robot_dreamer.preflight.findings import Finding, Weight
from robot_dreamer.preflight.motions import SECONDS, command_of, motions_of, wave
from robot_dreamer.preflight.wiggle import Trial, question, trial_findings, unsure
from robot_dreamer.spec import RobotSpec, load_spec, parse_spec

STATE = "topic: joint_states, type: sensor_msgs/msg/JointState"
TEXT = """
name: wiggled
rate: 50.0
observations:
  - {{name: arm, shape: [2], unit: {seen}, source: {{{state}, field: {field}, names: [a, b]}}}}
actions:
  - {{name: goal, unit: {unit}, {range}, command: {{{command}}}}}
reward: {{expression: "-norm(arm)"}}
episode: {{max_steps: 100}}
"""
RANGE, COMMAND = "low: [-1, -4], high: [1, 4]", "topic: commands, names: [a, b]"


def spec_of(
    unit: str = "rad", field: str = "position", command: str = COMMAND, limits: str = RANGE, seen: str = ""
) -> RobotSpec:
    seen = seen or ("rad" if field == "position" else "rad/s")
    return parse_spec(TEXT.format(unit=unit, field=field, command=command, range=limits, seen=seen, state=STATE))


def test_a_wave_begins_and_ends_at_rest_and_gives_back_what_it_took() -> None:
    times = np.linspace(0.0, SECONDS, 401)
    values = np.array([wave(t) for t in times])
    assert values.max() == pytest.approx(1.0, abs=1e-3) and values.min() == pytest.approx(-1.0, abs=1e-3)
    assert abs(values.sum()) < 1e-9 and values[50] > 0 and wave(-0.1) == wave(SECONDS + 0.1) == 0.0
    assert abs(np.gradient(values, times)[[0, -1]]).max() < 0.05


@pytest.mark.parametrize(
    ("unit", "field", "seen", "amplitudes"),
    [
        ("rad", "position", "rad", [0.1, 0.1]),
        ("deg", "position", "deg", [0.1, 0.4]),  # 5 % of the range, or 0.1 rad
        ("rad/s", "velocity", "rad/s", [0.1, 0.3]),
        ("Nm", "velocity", "rad/s", [0.1, 0.4]),
    ],
)
def test_how_far_each_joint_is_moved(unit: str, field: str, seen: str, amplitudes: list[float]) -> None:
    motions = motions_of(spec_of(unit, field, seen=seen))
    assert [m.amplitude for m in motions] == pytest.approx(amplitudes)
    command = command_of(motions[1], np.array([0.5, 0.5]), 0.3 * SECONDS)
    assert command[0] == 0.5 and 0.5 < command[1] <= 0.5 + amplitudes[1]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (spec_of(unit="''"), "unit must say whether it commands positions"),
        (spec_of(field="velocity"), "no quantity of the spec shows the positions of a, b in rad"),
        (spec_of(limits="values: [[0, 0], [1, 1]]"), "it is discrete"),
        (spec_of(command="topic: commands"), "command.names must say which joints"),
        (
            spec_of("rad", command=f"{COMMAND}, type: trajectory_msgs/msg/JointTrajectory, field: velocities"),
            "unit rad is no velocities",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused_by_name(spec: RobotSpec, problem: str) -> None:
    with pytest.raises(ValueError, match=f"action goal: {problem}"):
        motions_of(spec)


@pytest.mark.parametrize(("rate", "tried"), [(1.0, False), (1.9, False), (2.0, True)])
def test_a_robot_too_slow_for_a_wave_is_not_moved(rate: float, tried: bool) -> None:
    """Once a second the one command amid the wave may be its middle: the joint stood still, and was blamed for it."""
    spec = msgspec.structs.replace(spec_of("rad"), rate=rate)
    if tried:
        assert motions_of(spec)
        return
    with pytest.raises(ValueError, match="fewer than 4 commands; .* a copy of the spec that says a rate of 2 Hz"):
        motions_of(spec)


def test_a_mobile_base_is_moved_by_the_fields_of_its_twist() -> None:
    forward, turn = motions_of(load_spec("diff_drive_camera"))
    assert (forward.unit, turn.unit) == ("m/s", "rad/s") and forward.amplitude == pytest.approx(0.03)


def trial_of(spec: RobotSpec, joint: int, follow: Any) -> Trial:
    """As if the joints had done what `follow` makes [times, 2] of the times and the joint's command."""
    motion = motions_of(spec)[joint]
    times = np.arange(0.0, SECONDS + 0.6, 0.01)
    commands = np.array([motion.amplitude * wave(t) for t in times])
    trial = Trial(motion, Evidence(spec), times.tolist(), commands.tolist())
    readings = follow(times, commands)
    for t, numbers in zip(times, readings, strict=True):
        stamp = SimpleNamespace(sec=0, nanosec=round(t * 1e9) + 1)
        message = SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id=""), name=["a", "b"])
        message.position = message.velocity = numbers.tolist()
        trial.evidence.hear("joint_states", message, round(t * 1e9) + 1)
    return trial


def late(values: np.ndarray[Any, Any], ticks: int = 15) -> np.ndarray[Any, Any]:
    return np.concatenate([np.zeros(ticks), values[:-ticks]])


def first(trial: Trial) -> Finding:
    return next(iter(trial_findings(trial, "y")))


NOISE = np.random.default_rng(0).normal(0, 1e-4, (260, 2))


@pytest.mark.parametrize(
    ("own", "other", "weight", "words"),
    [
        (1.0, 0.0, Weight.NOTE, "it follows its command"),
        (-1.0, 0.0, Weight.STOP, "reversed: it moved against its command"),
        (0.0, 1.0, Weight.STOP, "swapped: b moved when a was commanded"),
        (0.0, -1.0, Weight.STOP, "swapped: b moved when a was commanded, and against the command"),
        (0.0, 0.0, Weight.STOP, "it did not follow its command (it stood still)"),
        (0.3, 0.0, Weight.WARNING, "it moved 0.3 times as far as commanded"),
        (1.0, 0.8, Weight.NOTE, "it follows its command"),  # a neighbour that is dragged along
    ],
)
def test_what_sensors_say_of_a_position(own: float, other: float, weight: Weight, words: str) -> None:
    trial = trial_of(spec_of(), 0, lambda t, u: 0.4 + np.outer(late(u), [own, other]) + NOISE)
    assert first(trial).weight is weight and words in first(trial).found


@pytest.mark.parametrize("silent", ["commands", "readings"])
@pytest.mark.parametrize(("own", "weight", "words"), [(1.0, Weight.NOTE, "it follows"), (0.0, Weight.WARNING, "0.5 s")])
def test_what_a_busy_computer_spoiled_is_not_held_against_the_joint(
    silent: str, own: float, weight: Weight, words: str
) -> None:
    trial = trial_of(spec_of(), 0, lambda t, u: 0.4 + np.outer(late(u), [own, 0.0]) + NOISE)
    track = trial.evidence.heard["arm"].track
    for values in (trial.times, trial.commands) if silent == "commands" else (track.times, track.values):
        del values[80:130]
    found = first(trial)
    assert found.weight is weight and words in found.found and bool(unsure(trial)) == (weight is Weight.WARNING)
    trial.times.clear()
    assert "for 2.0 s" in first(trial).found


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(("unit", "field"), [("rad/s", "velocity"), ("rad/s", "position"), ("Nm", "velocity")])
def test_what_sensors_say_of_velocities_and_efforts(unit: str, field: str, sign: float) -> None:
    def follow(t: np.ndarray[Any, Any], u: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        shown = u if (unit, field) == ("rad/s", "velocity") else np.cumsum(u) * 0.01
        return np.outer(late(shown, 5), [0.0, sign]) + NOISE

    found = first(trial_of(spec_of(unit, field), 1, follow))
    assert ("reversed" in found.found) == (sign < 0) and (found.weight is Weight.NOTE) == (sign > 0)


@pytest.mark.parametrize(
    ("answer", "weight", "words"),
    [
        ("y", Weight.NOTE, "a person saw it move"),
        ("NO", Weight.STOP, "reversed: a person saw it move the other way"),
        ("the elbow", Weight.STOP, "swapped: a person saw the elbow move when a was commanded"),
        ("", Weight.STOP, "swapped: a person saw nothing move"),
    ],
)
def test_what_a_person_saw(answer: str, weight: Weight, words: str) -> None:
    trial = trial_of(spec_of(), 0, lambda t, u: np.outer(u, [1.0, 0.0]))
    found = list(trial_findings(trial, answer))[1]
    assert found.weight is weight and words in found.found and "towards larger rad" in question(trial.motion)


def test_what_no_sensor_shows_is_left_to_the_person() -> None:
    spec = spec_of("Nm", "velocity", "topic: commands, names: [x, y]")
    assert "no quantity of the spec shows it" in first(trial_of(spec, 0, lambda t, u: NOISE)).found


def test_it_wants_to_have_listened_before_and_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "cartpole", "--wiggle"]) == 2 and "--wiggle needs --live" in capsys.readouterr().err
    assert main(["check", "cartpole", "--live", "2", "--wiggle"]) == 2
    assert "expected a terminal, with a person" in capsys.readouterr().err
