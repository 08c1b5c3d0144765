"""What an IMU says against itself: the fields that the spec reads decide, the others are witnesses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags")

from robot_dreamer.data.bags import new_message
from robot_dreamer.preflight.evidence import Evidence
from robot_dreamer.preflight.findings import Finding, Weight
from robot_dreamer.preflight.imus import imu_findings
from robot_dreamer.spec import parse_spec
from tests.robot_sensors import stamped

START = 1_700_000_000_000_000_000  # ns
SIZES = {"orientation": 4, "angular_velocity": 3, "linear_acceleration": 3}
TILTED = (0.0, np.sin(0.5), 0.0, np.cos(0.5))  # pitched by one rad: up is not z


def evidence_of(*read: str, acceleration: Any, orientation: Any, broken: str = "") -> Evidence:
    """A tilted IMU whose spec reads these fields; `broken`: has a number that is not finite in its third message."""
    observations = "\n".join(
        f"  - {{name: {field}, shape: [{SIZES[field]}], "
        f"source: {{topic: imu, type: sensor_msgs/msg/Imu, field: {field}}}}}"
        for field in read
    )
    actions = "actions:\n  - {name: u, low: [-1.0], high: [1.0], command: {topic: u}}"
    text = f'name: tilted\nrate: 50.0\nobservations:\n{observations}\n{actions}\nreward: {{expression: "0"}}\n'
    evidence = Evidence(parse_spec(text + "episode: {max_steps: 100}\n"))
    random = np.random.default_rng(0)
    for n in range(40):
        message = new_message("sensor_msgs/msg/Imu")
        numbers = {
            "orientation": orientation,
            "angular_velocity": random.normal(0, 1e-3, 3),
            "linear_acceleration": np.asarray(acceleration) * (1 + random.normal(0, 1e-3)),
        }
        if n == 2 and broken:
            numbers[broken] = np.full(SIZES[broken], np.nan)
        for field, values in numbers.items():
            for axis, value in zip("xyzw", values, strict=False):
                setattr(getattr(message, field), axis, float(value))
        time = START + n * 20_000_000
        evidence.hear("imu", stamped(message, time), time)
    return evidence


def of_weight(weight: Weight, evidence: Evidence) -> list[str]:
    findings: list[Finding] = list(imu_findings(evidence))
    return [f.found for f in findings if f.weight is weight]


UP = 9.81 * np.array([-np.sin(1.0), 0.0, np.cos(1.0)])
IDENTITY, NOTHING = (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("acceleration", "orientation"), [(NOTHING, IDENTITY), (NOTHING, TILTED), (UP, IDENTITY)])
def test_what_is_not_read_and_not_filled_in_says_nothing(acceleration: Any, orientation: Any) -> None:
    evidence = evidence_of("angular_velocity", acceleration=acceleration, orientation=orientation)
    assert not list(imu_findings(evidence))


def test_an_orientation_that_is_not_filled_in_does_not_accuse_the_acceleration() -> None:
    assert not list(imu_findings(evidence_of("linear_acceleration", acceleration=UP, orientation=IDENTITY)))


def test_a_scale_stops_where_it_is_read_and_warns_elsewhere() -> None:
    for read, weight in (("linear_acceleration", Weight.STOP), ("angular_velocity", Weight.WARNING)):
        (found,) = of_weight(weight, evidence_of(read, acceleration=UP / 9.81, orientation=TILTED))
        assert "it is in g" in found


def test_frames_that_contradict_stop_only_where_both_are_read() -> None:
    one = evidence_of("orientation", acceleration=(0.0, 9.81, 0.0), orientation=TILTED)
    both = evidence_of("orientation", "linear_acceleration", acceleration=(0.0, 9.81, 0.0), orientation=TILTED)
    assert "different frames" in str(of_weight(Weight.WARNING, one)) and not of_weight(Weight.STOP, one)
    assert "different frames" in str(of_weight(Weight.STOP, both))


def test_an_acceleration_that_is_not_read_is_witness_of_the_quaternions_order() -> None:
    w_first = (TILTED[3], *TILTED[:3])
    (found,) = of_weight(Weight.STOP, evidence_of("orientation", acceleration=UP, orientation=w_first))
    assert "order w, x, y, z" in found


@pytest.mark.parametrize("broken", ["linear_acceleration", "angular_velocity"])
def test_one_number_that_is_not_finite_is_left_out_and_counted(broken: str) -> None:
    evidence = evidence_of("orientation", acceleration=UP, orientation=TILTED, broken=broken)
    notes = " ".join(of_weight(Weight.NOTE, evidence))
    assert not of_weight(Weight.STOP, evidence) and not of_weight(Weight.WARNING, evidence)
    assert evidence.imus["imu"][broken].broken == 1
    assert f"1 of {broken} were not finite" in notes and "agree about up, within 0 degrees" in notes
