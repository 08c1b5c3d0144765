"""Units that are known must agree where they meet; the message gives the scale that mends it."""

from __future__ import annotations

import math

import pytest

from robot_dreamer.spec import SpecError, known_robots, load_spec, parse_spec
from robot_dreamer.spec.units import disagreement
from tests.onboard_models import TOY

COS_SIN = "encoding: cos_sin,"
JOINT = """watched:
  - {name: pose, shape: [2], unit: UNIT,
     source: {topic: j, type: sensor_msgs/msg/JointState, field: position, names: [a, b]}}
safety: {pose: {torque: pose}}
"""


@pytest.mark.parametrize("unit", ["rad", "", "'cos, sin'", "radians"])
def test_cosine_and_sine_are_of_radians(unit: str) -> None:
    parse_spec(TOY.replace(COS_SIN, f"{COS_SIN} unit: {unit or chr(39) * 2},"))


def test_cosine_and_sine_of_degrees_are_refused_with_the_scale() -> None:
    with pytest.raises(
        SpecError, match=r"unit of angle, .*cos_sin: expected rad, found deg; multiply .* by 0.0174532925"
    ):
        parse_spec(TOY.replace(COS_SIN, f"{COS_SIN} unit: deg,"))
    with pytest.raises(SpecError, match="found m/s, which is a velocity and no angle"):
        parse_spec(TOY.replace(COS_SIN, f"{COS_SIN} unit: m/s,"))


@pytest.mark.parametrize(
    ("pose", "action", "problem"),
    [
        ("rad", "rad", ""),
        ("deg", "rad", "by 0.01745329252"),
        ("rad", "deg", "by 57.2957"),
        ("furlong", "rad", ""),
        ("", "rad", ""),
        ("m", "rad", "no angle"),
    ],
)
def test_a_pose_is_in_the_units_of_its_action(pose: str, action: str, problem: str) -> None:
    text = TOY.replace("unit: Nm", f"unit: {action}") + JOINT.replace("UNIT", pose or "''")
    if not problem:
        parse_spec(text)
        return
    with pytest.raises(SpecError, match=f"safety.pose.torque: unit of pose: .*{problem}"):
        parse_spec(text)


def test_a_pose_has_its_joints_in_the_order_of_the_command() -> None:
    def spec(names: str) -> str:
        return TOY.replace("topic: motor/commands", f"topic: motor/commands, names: {names}") + JOINT.replace(
            "UNIT", "Nm"
        )

    parse_spec(spec("[a, b]"))
    parse_spec(spec("[left, right]"))  # motors may be called otherwise than joints
    with pytest.raises(
        SpecError, match=r"safety.pose.torque: pose names \['a', 'b'\], the command \['b', 'a'\]; write"
    ):
        parse_spec(spec("[b, a]"))


def test_a_tilt_vector_keeps_its_direction() -> None:
    source = "{topic: i, type: std_msgs/msg/Float64MultiArray, field: data, names: [x, y, z]}"
    up = f"watched:\n  - {{name: up, shape: [3], SCALE source: {source}}}\n"
    up += "safety: {tilt: {observation: up, max_angle: 1.0}}"
    parse_spec(TOY + up.replace("SCALE", "scale: [0.1, 0.1, 0.1],"))
    for wrong in ("scale: [1.0, 2.0, 1.0],", "offset: [0.0, 0.0, 1.0],"):
        with pytest.raises(SpecError, match="safety.tilt: up is no direction any more"):
            parse_spec(TOY + up.replace("SCALE", wrong))


def test_the_scale_is_the_quotient() -> None:
    assert f"by {math.pi / 30:.10g}" in disagreement("rpm", "rad/s")
    assert disagreement("rad", "radians") == disagreement("?", "rad") == ""


@pytest.mark.parametrize("name", known_robots())
def test_the_shipped_robots_agree(name: str) -> None:
    load_spec(name)
