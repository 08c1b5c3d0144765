"""The guard's rules about the robot, one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from robot_dreamer.onboard.guard import Guard
from robot_dreamer.onboard.rules import DeadlineRule, LimitRule, SurpriseRule, TiltRule
from robot_dreamer.spec import SpecError, parse_spec
from robot_dreamer.spec.safety import Limit, Surprise, Tilt
from tests.onboard_models import TOY

RATE = 50.0


def about(axis: tuple[float, float, float], angle: float) -> dict[str, Any]:
    """Orientation (x, y, z, w) of a body turned about an axis."""
    half = angle / 2
    return {"pose": np.array([*(math.sin(half) * x for x in axis), math.cos(half)], np.float32)}


@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.6, 0.8, 0.0)])
def test_tilt_of_an_orientation(axis: tuple[float, float, float]) -> None:
    rule = TiltRule(Tilt("pose", 1.0), RATE)
    assert rule.check(about(axis, 0.99)) == ""
    assert rule.check(about(axis, -0.99)) == ""
    assert rule.check(about(axis, 1.01)) == "the robot leans 1.01 rad, allowed 1 rad (pose)"


def test_turning_about_the_vertical_is_no_tilt() -> None:
    rule = TiltRule(Tilt("pose", 0.1), RATE)
    assert all(rule.check(about((0.0, 0.0, 1.0), angle)) == "" for angle in np.linspace(-3, 3, 7))


def test_tilt_of_a_sensor_that_is_mounted_on_its_side() -> None:
    rule = TiltRule(Tilt("pose", 0.5, up=(0.0, 1.0, 0.0)), RATE)  # its y axis points up
    assert rule.check(about((1.0, 0.0, 0.0), math.pi / 2)) == ""
    assert "leans 1.57 rad" in rule.check(about((1.0, 0.0, 0.0), 0.0))


@pytest.mark.parametrize(("up", "sign"), [((0.0, 0.0, 1.0), 1.0), ((0.0, 0.0, -1.0), -1.0)])
def test_tilt_of_a_direction(up: tuple[float, float, float], sign: float) -> None:
    """An accelerometer at rest points up; gravity seen from the body points down."""
    rule = TiltRule(Tilt("pose", 1.0, up=up), RATE)
    lean = sign * 9.81 * np.array([math.sin(0.9), 0.0, math.cos(0.9)])
    assert rule.check({"pose": lean}) == ""
    assert "leans 3.14 rad" in rule.check({"pose": np.array([0.0, 0.0, -sign])})
    assert "has no direction" in rule.check({"pose": np.zeros(3)})


def test_what_must_last_does_not_count_before() -> None:
    rule = TiltRule(Tilt("pose", 1.0, after=0.1), RATE)  # 5 ticks
    fallen, upright = about((1.0, 0.0, 0.0), 2.0), about((1.0, 0.0, 0.0), 0.0)
    assert [bool(rule.check(fallen)) for _ in range(4)] == [False] * 4
    assert rule.check(upright) == ""
    assert [bool(rule.check(fallen)) for _ in range(5)] == [False] * 4 + [True]
    rule.reset()
    assert rule.check(fallen) == ""


@pytest.mark.parametrize(
    ("limit", "value", "problem"),
    [
        (Limit("q", low=(-1.0, -2.0), high=(1.0, 2.0)), [1.0, -2.0], ""),
        (Limit("q", low=(-0.1, -1.2), high=(0.1, 1.2)), [0.1, -1.2], ""),  # in float32 both are farther out
        (Limit("q", low=(-0.1, -1.2), high=(0.1, 1.2)), [-0.1, 1.2], ""),
        (Limit("q", high=(0.1, 1.2)), [0.0, 1.2001], "q of knee is 1.2 rad, high limit 1.2"),
        (Limit("q", low=(-1.0, -2.0), high=(1.0, 2.0)), [0.0, 2.5], "q of knee is 2.5 rad, high limit 2"),
        (Limit("q", low=(-1.0, -2.0), high=(1.0, 2.0)), [-1.5, 0.0], "q of hip is -1.5 rad, low limit -1"),
        (Limit("q", high=(80.0, 80.0)), [-1e6, 79.0], ""),
        (Limit("q", high=(80.0, 80.0)), [20.0, 81.0], "q of knee is 81 rad, high limit 80"),
        (Limit("q", low=(5.0, 5.0)), [6.0, 4.0], "q of knee is 4 rad, low limit 5"),
    ],
)
def test_measured_limits(limit: Limit, value: list[float], problem: str) -> None:
    rule = LimitRule(limit, ("hip", "knee"), "rad", RATE)
    assert rule.check({"q": np.array(value, np.float32)}) == problem


def test_a_quantity_without_names_is_counted_from_0() -> None:
    rule = LimitRule(Limit("gyro", high=(1.0, 1.0, 1.0)), (), "", RATE)
    assert rule.check({"gyro": np.array([0.0, 3.0, 2.0])}) == "gyro[1] is 3, high limit 1"


def test_deadlines_in_a_row() -> None:
    rule = DeadlineRule(5)
    assert [bool(rule.check(n)) for n in (2, 2, 0, 4, 0, 2, 2, 1)] == [False] * 7 + [True]
    assert rule.check(0) == "" and rule.check(5) == "5 deadlines missed in a row, allowed 4"
    rule.reset()
    assert rule.check(4) == ""
    assert all(DeadlineRule(0).check(n) == "" for n in (1, 1000))


class Surprised:
    """A rule and a seeded source of ordinary surprise, between 0 and 1 nats; the mean goes over 5 ticks."""

    def __init__(self, **options: Any) -> None:
        self.rule = SurpriseRule(
            Surprise(**({"factor": 2.0, "seconds": 0.1, "window": 200, "warm_up": 100} | options)), RATE
        )
        self.generator = np.random.default_rng(0)

    def live(self, ticks: int, scale: float = 1.0, version: int = 1) -> list[str]:
        return [self.rule.check(scale * x, version) for x in self.generator.uniform(0, 1, ticks)]


def test_surprise_that_lasts_far_above_what_was_lately_usual() -> None:
    run = Surprised()
    assert not any(run.live(103)) and math.isinf(run.rule.threshold)  # 4 ticks until there is a mean
    assert not any(run.live(200))
    assert 1.4 < run.rule.threshold < 1.7  # twice the 99th percentile of the mean of five
    assert run.rule.check(3.0, 1) == ""  # one tick is nothing
    assert not any(run.live(10))
    problems = [run.rule.check(3.0, 1) for _ in range(5)]
    assert problems[0] == "" and "nats over 0.1 s, threshold 1." in problems[-1]


def test_an_episode_starts_its_mean_anew() -> None:
    run = Surprised()
    run.live(300)
    run.rule.reset()
    assert [bool(run.rule.check(50.0, 1)) for _ in range(5)] == [False] * 4 + [True]  # not before `seconds`
    run.rule.reset()
    assert not any(run.live(50))


def test_surprise_that_grows_slowly_is_followed() -> None:
    run = Surprised()
    for scale in np.linspace(1.0, 10.0, 40):
        assert not any(run.live(200, scale))
    assert run.rule.threshold > 12.0


def test_another_model_is_not_judged_by_the_old_ones_scale() -> None:
    run = Surprised()
    run.live(300)
    assert not any(run.live(99, scale=50.0, version=2)) and math.isinf(run.rule.threshold)
    assert not any(run.live(100, scale=50.0, version=2))
    assert run.rule.threshold > 60.0


def test_a_policy_without_surprise_is_never_surprised() -> None:
    run = Surprised()
    assert not any(run.rule.check(math.nan, 1) for _ in range(1000)) and math.isinf(run.rule.threshold)


ROBOT = f"""{TOY}
watched:
  - {{name: up, shape: [3], source: {{topic: imu, type: sensor_msgs/msg/Imu, field: linear_acceleration}}}}
  - {{name: temperature, shape: [1], unit: C,
     source: {{topic: motor, type: sensor_msgs/msg/JointState, field: position, names: [hinge]}}}}
safety:
  reactions: {{tilt: damp, limit: hold}}
  tilt: {{observation: up, max_angle: 1.0}}
  limits: [{{observation: speed, low: [-3.0], high: [3.0]}}, {{observation: temperature, high: [80.0], after: 0.06}}]
  surprise: {{factor: 5.0, seconds: 0.02, window: 100, warm_up: 100}}
  missed_deadlines: 3
"""


def seen(speed: float = 0.0, temperature: float = 40.0, up: float = 9.81) -> dict[str, Any]:
    numbers = {"angle": [1.0, 0.0], "speed": [speed], "temperature": [temperature], "up": [0.0, 0.0, up]}
    return {name: np.array(x, np.float32) for name, x in numbers.items()}


def test_the_guard_watches_what_the_spec_names() -> None:
    guard = Guard(parse_spec(ROBOT))
    assert guard.inspect(seen()) is None
    fault = guard.inspect(seen(speed=-4.0))
    assert fault is not None and fault is guard.fault
    assert (str(fault), fault.reaction, fault.terminal) == (
        "limit: speed of hinge is -4, low limit -3", "hold", True,
    )  # fmt: skip
    guard.clear()
    assert [guard.inspect(seen(temperature=90.0)) is None for _ in range(3)] == [True, True, False]
    assert str(guard.clear()) == "limit: temperature of hinge is 90 C, high limit 80"
    fault = guard.inspect(seen(up=-9.81))
    assert fault is not None and (fault.rule, fault.reaction) == ("tilt", "damp")
    guard.clear()
    assert guard.judge_deadline(2) is None and guard.judge_deadline(1) is not None
    guard.clear()
    assert all(guard.judge_surprise(0.5, 1) is None for _ in range(100))
    assert guard.surprise_threshold == pytest.approx(2.5)
    assert str(guard.judge_surprise(3.0, 1)).startswith("surprise: mean surprise 3 nats over 0.02 s, threshold 2.5")
    assert guard.faults == {"limit": 2, "tilt": 1, "deadline": 1, "surprise": 1}


def test_safety_is_no_part_of_the_contract() -> None:
    spec = parse_spec(ROBOT)
    assert spec.hash == parse_spec(TOY).hash
    assert parse_spec(spec.to_json()) == spec
    assert [o.name for o in spec.quantities] == ["angle", "speed", "up", "temperature"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("observation: up", "observation: upp", "safety.tilt: no observation or watched quantity is called 'upp'"),
        ("observation: up", "observation: angle", "safety.tilt: angle must be a vector of raw numbers; declare such a"),
        ("observation: up", "observation: speed", "safety.tilt: speed must be an orientation (4 numbers) or a direct"),
        ("max_angle: 1.0", "max_angle: 0.0", "max_angle must be in (0, pi) rad, found 0.0"),
        ("low: [-3.0]", "low: [-3.0, 1.0]", "low and high must have the same length"),
        ("low: [-3.0]", "low: [3.0]", "each low must be below its high"),
        ("high: [80.0]", "high: [80.0, 80.0]", "safety.limits[1]: temperature has 1 numbers, found 2"),
        ("high: [80.0], ", "", "give low, high or both"),
        ("after: 0.06", "after: -1", "after must be seconds, 0 or more, found -1"),
        ("tilt: damp", "tilt: dampen", "Invalid enum value 'dampen'"),
        ("tilt: damp", "fall: damp", "Invalid enum value 'fall'"),
        ("warm_up: 100", "warm_up: 101", "warm_up must be in 1..100 (window), found 101"),
        ("missed_deadlines: 3", "missed_deadlines: -3", "missed_deadlines must not be negative, found -3"),
        ("name: up,", "name: speed,", "names must be unique, found twice: speed"),
        ("safety:", "safety:\n  pose: {torque: speed}", "safety.pose.torque: expected 2 numbers, speed has 1"),
        ("safety:", "safety:\n  pose: {force: speed}", "safety.pose: no continuous action is called 'force'; known"),
        ("safety:", "safety:\n  keep: [hand]", "safety.keep: no action is called 'hand'; known: torque"),
        ("safety:", "safety:\n  keep: [torque]", "safety.keep: torque commands a motion or a force (Nm), which"),
        ("field: linear_acceleration", "field: linear_acceleration, hold: true", "safety.tilt: up must say where"),
    ],
)  # fmt: skip
def test_mistakes_in_the_safety_section_are_named(old: str, new: str, problem: str) -> None:
    assert old in ROBOT
    with pytest.raises(SpecError) as error:
        parse_spec(ROBOT.replace(old, new, 1), "robot.yaml")
    assert problem in str(error.value) and "robot.yaml, line " in str(error.value)


def test_a_log_likelihood_below_zero_is_judged_alike() -> None:
    run = Surprised()
    usual = [run.rule.check(x, 1) for x in run.generator.uniform(-9.0, -8.0, 300)]
    assert not any(usual) and -8.5 < run.rule.threshold < 0.0 + 1.0
    assert not any(run.rule.check(x, 1) for x in run.generator.uniform(-9.0, -8.0, 300))
    assert any(run.rule.check(30.0, 1) for _ in range(5))
