"""A wrong word in a RobotSpec is refused with those that are known at its place, and the nearest one."""

from __future__ import annotations

import pytest

from robot_dreamer.spec import ROBOTS_DIRECTORY, SpecError, parse_spec
from robot_dreamer.spec.source import FIELDS

POSE = "geometry_msgs/msg/PoseStamped"
TEXT = (ROBOTS_DIRECTORY / "so101.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (POSE, "geometry_msgs/PoseStamped", f"did you mean {POSE}?"),
        (POSE, "sensor_msgs/msg/Joy", f"known: {', '.join(sorted(FIELDS))}"),
        ("max_age: 0.2}", "max_aeg: 0.2}", "unknown field `max_aeg`; did you mean max_age? known: beams, field, hold"),
        ("max_rate:", "rate:", "unknown field `rate`; did you mean max_rate? known: command, filter, high, low"),
        ("topic: forward_position", "type: Float64, topic: forward_position", "known: geometry_msgs/msg/Twist, "),
        ("  ramp_seconds: 2.0", "  ramp_secs: 2.0", "did you mean ramp_seconds?"),
        ("{e_stop: hold}", "{e_stop: hodl}", "did you mean hold? known: damp, hold, ramp, stop"),
        ("{e_stop: hold}", "{estop: hold}", "did you mean e_stop? known: bundle, command, contested"),
        ("{e_stop: hold}", "{estop: hold}", "line 45, field safety.reactions: Invalid enum value"),
        ("  ramp_seconds: 2.0", "  tilt: {observation: tip, angle: 1.0}", "`angle`; did you mean max_angle?"),
        ("  ramp_seconds: 2.0", "  frozen: {observation: tip, secs: 1.0}", "known: observation, seconds"),
        ("reward_range:", "rewards_range:", "did you mean reward_range? known: actions, description, episode"),
    ],
)
def test_what_is_known_stands_behind_what_is_not(old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(SpecError) as refused:
        parse_spec(TEXT.replace(old, new, 1), "mine.yaml")
    assert said in str(refused.value) and str(refused.value).startswith("mine.yaml, line ")


def test_other_errors_are_as_they_were() -> None:
    with pytest.raises(SpecError) as refused:
        parse_spec(TEXT.replace("rate: 10.0", "rate: fast", 1))
    assert str(refused.value).endswith("field rate: Expected `float`, got `str`")
