"""Expressions for reward and terminal: their values, what is refused and how, and their place in the contract."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_dreamer.spec import ROBOTS_DIRECTORY, ExpressionFault, SpecError, load_spec, parse_spec
from robot_dreamer.spec.expression import Expression, ExpressionError, Variable
from tests.onboard_models import TOY

SCOPE = {
    "tip": Variable(3, ("x", "y", "z"), "m", -2.0, 2.0),
    "goal": Variable(3, ("x", "y", "z"), "m"),
    "joints": Variable(2, ("hip", "knee"), "rad"),
    "wheels": Variable(2, ("left", "right"), "deg"),
    "mixed": Variable(2, ("slide", "hinge"), "m, rad"),
    "height": Variable(1, (), "m", 0.0, 3.0),
    "angle": Variable(1, (), "rad"),
    "camera": Variable(0),
}
VALUES = {
    "tip": np.array([0.3, -0.4, 0.0], np.float32),
    "goal": np.zeros(3, np.float32),
    "joints": np.array([1.5, -2.0]),
    "wheels": np.array([90.0, 180.0]),
    "mixed": np.array([0.5, 7.0]),
    "height": np.array([0.25]),
    "angle": np.array([4.0]),
}
TEXT = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text()
REWARD = "reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}"
TERMINAL = "terminal: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [terminal]}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4 / 8", 6.5),
        ("-norm(tip - goal)", -0.5),
        ("exp(-10 * norm(tip - goal) ** 2)", math.exp(-2.5)),
        ("sum(joints) + mean(joints) + min(joints) + max(joints)", -0.5 - 0.25 - 2.0 + 1.5),
        ("max(height, 0.5, 0.1) - min(height, 0.5)", 0.25),
        ("dot(tip, tip)", 0.25),
        ("clip(joints[1], -1, 1)", -1.0),
        ('joints["knee"] + tip["x"] * 1', -1.7),
        ("norm(tip[0:2]) + norm(tip[2:])", 0.5),
        ("wrap(angle)", 4.0 - 2 * math.pi),
        ("sin(pi / 6) + cos(angle) + tan(0.5) + tanh(1)", 0.5 + math.cos(4) + math.tan(0.5) + math.tanh(1)),
        ("atan2(tip[1], tip[0])", math.atan2(-0.4, 0.3)),
        ("acos(clip(tip[0], -1, 1)) + asin(0.5)", math.acos(0.3) + math.asin(0.5)),
        ("sqrt(height) + log(height + 1) + abs(joints[1]) ** 0.5", 0.5 + math.log(1.25) + math.sqrt(2)),
        ("1 / (1 + joints[0] ** 2)", 1 / 3.25),
        ("10 * (height < 0.3) + 5 * (height > 0.3)", 10.0),
        ("1 if 0.1 < height < 0.3 and not any(joints > 2) else 0", 1.0),
        ("1 if all(joints < 2) and height >= 0.25 or height == 7 else 0", 1.0),
        ("1\n  + joints[0]\n", 2.5),
    ],
)
def test_values(text: str, expected: float) -> None:
    assert Expression(text, SCOPE)(VALUES, VALUES) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("before(norm(tip - goal)) - norm(tip - goal)", 2.0 - 0.5),
        ("joints[0] - before(joints[0]) + before(2)", 1.5 - 0.5 + 2.0),
        ("1 if height < 0.3 and not before(height < 0.3) else 0", 1.0),
    ],
)
def test_what_was_before(text: str, expected: float) -> None:
    past = {"tip": [0.0, 2.0, 0.0], "goal": [0.0, 0.0, 0.0], "joints": [0.5, 0.0], "height": [0.3]}
    before = {name: np.asarray(numbers) for name, numbers in past.items()}
    expression = Expression(text, SCOPE)
    assert expression(VALUES, before) == pytest.approx(expected, rel=1e-6) and expression.looks_back
    assert not Expression("norm(tip - goal)", SCOPE).looks_back


def test_what_is_repeated_is_computed_once_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, tanh = [], np.tanh
    monkeypatch.setattr(np, "tanh", lambda x: calls.append(x) or tanh(x))
    expression = Expression("tanh(height) + tanh(height) * 2 - before(tanh(height) - tanh( height ))", SCOPE)
    for height in (0.5, 1.5):
        assert expression({"height": [height]}, {"height": [0.25]}) == pytest.approx(3 * math.tanh(height))
    assert calls == [0.5, 0.25, 1.5, 0.25]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("before(before(angle))", "character 8: before takes one argument, without another before in it"),
        ("before(angle, 1)", "before takes one argument"),
        ("befor(angle)", "there is no function 'befor' (nearest: before)"),
        ("sqrt(before(tip[0]))", "sqrt: its argument must be between 0 and inf, and is between -2 and 2"),
        ("before(joints[0]) - before(wheels[0])", "-: rad and deg do not go together"),
        ("hight + 1", "character 1: the robot has no 'hight' (nearest: height); known: angle, camera, goal"),
        ("1 + nrom(tip)", "character 5: there is no function 'nrom' (nearest: norm)"),
        ("1 +\n  nrom(tip)", "character 7: there is no function 'nrom'"),
        ("tip", "expected one number, found a vector of 3"),
        ("sum(tip + joints)", "+: expected vectors of one length, found vector of 3 and vector of 2"),
        ("dot(tip, joints)", "dot: expected two vectors of one length"),
        ("sum(joints - wheels)", "-: rad and deg do not go together"),
        ("joints[0] < height", "<: rad and m do not go together"),
        ('mixed["slide"] + mixed["hinge"]', "+: m and rad do not go together"),
        ("sin(wheels[0])", "sin: expected rad, found deg; multiply `scale`"),
        ("1 / norm(tip)", "the divisor can be 0 (it is between 0 and"),
        ("height / height", "the divisor can be 0"),
        ("sqrt(tip[0])", "sqrt: its argument must be between 0 and inf, and is between -2 and 2"),
        ("tip[0] ** 0.5", "0.5 is a root, and its base can be -2"),
        ("tip[0] ** angle", "expected a number above 0 and at most 8 as the exponent, written out"),
        ("2 ** 9 ** 9", "as the exponent, written out"),
        ("log(height)", "log: its argument can be 0"),
        ("acos(angle)", "acos: its argument must be between -1 and 1"),
        ("exp(angle)", "exp: its argument must be between -inf and 80"),
        ("clip(angle, 1, 0)", "clip: the lower limit can be 1, above the upper one, 0"),
        ("norm(camera)", "camera is a picture"),
        ("tip[3]", "tip has elements 0 to 2, found 3"),
        ("norm(tip[2:5])", "tip has 3 elements, found [2:5]"),
        ('joints["ankle"]', "joints has no element 'ankle'; known: hip, knee"),
        ("joints[angle]", "an index is a number from 0"),
        ("max()", "max takes 1 to 8 arguments, found 0"),
        ("not height", "not needs a condition such as a < b, found a number"),
        ("1 if height else 0", "if needs a condition"),
        ("1 +", "no expression"),
        ("1\0", "a zero byte"),
        ("1 # + 2", "a remark (#) belongs beside"),
        ("1) + (2", "no expression"),
        ("", "no expression"),
        ("__import__('os').system('true')", "is not of the language"),
        ("tip.shape", "'tip.shape' is not of the language"),
        ("(lambda: 1)()", "is not of the language"),
        ("[x for x in tip]", "is not of the language"),
        ("norm(*tip)", "is not of the language"),
        ("height := 1", "no expression"),
        ("1e400", "expected a number of at most 1e12"),
        ("True", "expected a number of at most 1e12, found True"),
        ("(" * 300 + "1" + ")" * 300, "too many nested parentheses"),
        ("-" * 3000 + "1", "too many brackets"),
        ("1 + " * 2000 + "1", "expected at most 4000 characters"),
    ],
)
def test_what_is_wrong_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression(text, SCOPE)
    assert problem in str(caught.value)


@given(
    st.sampled_from(
        [
            "1 / (0.1 + norm(tip))",
            "tip[0] ** 3 / max(height, 0.01)",
            "exp(-abs(joints[0])) * cos(angle) - tip[1] * tip[2]",
            "(tip[0] - height) ** 2 + clip(angle * 1, -1, tip[2] * 1 + 3)",
            "wrap(angle) + atan2(joints[0], tip[0]) + sqrt(height)",
            "tip[0] ** 2 if angle > 0 else mean(tip)",
        ]
    ),
    st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3),
    st.floats(0, 3, width=32),
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3),
)
def test_every_value_lies_in_the_interval_that_the_check_saw(
    text: str, tip: list[float], height: float, free: list[float]
) -> None:
    expression = Expression(text, SCOPE)
    values = {"tip": tip, "height": [height], "joints": free[:2], "angle": free[2:]}
    taken = {name: np.asarray(numbers) for name, numbers in values.items()}
    value = expression(taken, taken)
    slack = 1e-9 * max(1.0, abs(value))
    assert expression.low - slack <= value <= expression.high + slack


def test_numbers_outside_of_the_stated_range_have_no_value_and_say_so() -> None:
    expression = Expression("1 / (2.5 + tip[0]) + (2.5 + tip[0])", SCOPE)
    with pytest.raises(ExpressionFault, match=r"has no value: divide by zero .*; with tip \[-2.5, 0.0, 0.0\]$"):
        expression({"tip": np.array([-2.5, 0.0, 0.0])}, {})


def changed(reward: str, terminal: str = TERMINAL, more: str = "") -> str:
    return TEXT.replace(REWARD, reward).replace(TERMINAL, terminal) + more


def test_errors_have_file_line_and_field() -> None:
    text = changed('reward: {expression: "pole_angel[0]"}')
    with pytest.raises(SpecError, match=r"line 26, field reward\.expression: character 1: the robot has no 'pole_ang"):
        parse_spec(text, "my.yaml")
    with pytest.raises(SpecError, match=r"field terminal\.expression: expected a condition"):
        parse_spec(changed(REWARD, "terminal: {expression: cart_position}"))


@pytest.mark.parametrize(
    ("reward", "problem"),
    [
        (
            "reward: {}",
            "field reward: needs an expression, or a topic with type, field and names; missing: topic, type",
        ),
        ("reward: {topic: task}", "missing: type, field"),
        ('reward: {expression: "1", topic: task}', "give either expression or a topic, not both; found topic"),
        ('reward: {expression: "1", max_age: 1}', "max_age is for a topic"),
        (REWARD.replace("[reward]", "[a, b]"), "must name exactly one scalar"),
    ],
)
def test_a_signal_is_a_topic_or_an_expression(reward: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(changed(reward))
    assert problem in str(caught.value)


def test_the_expression_is_part_of_the_contract_with_what_it_is_computed_from() -> None:
    effort = """
watched:
  - name: UNUSED
    shape: [1]
    source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: velocity, names: [slider]}
  - name: effort
    shape: [1]
    unit: N
    source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: effort, names: [slider]}
"""
    reward = 'reward: {expression: "pole_angle[0] - 0.1 * effort ** 2 - 0.01 * norm(force)"}'
    spec = parse_spec(changed(reward, more=effort.replace("UNUSED", "unused")))
    assert parse_spec(spec.to_json()) == spec and parse_spec(spec.to_json()).hash == spec.hash
    assert [o.name for o in spec.recorded] == ["cart_position", "joint_velocity", "pole_angle", "effort"]
    assert [o.name for o in spec.observations] == ["cart_position", "joint_velocity", "pole_angle"]
    assert set(spec.signals) == {"terminal"} and set(spec.expressions) == {"reward"}
    others = {
        parse_spec(changed(reward.replace("0.01", "0.02"), more=effort.replace("UNUSED", "unused"))).hash,
        parse_spec(changed(reward, more=effort.replace("UNUSED", "unused").replace("unit: N", "scale: [2.0]"))).hash,
        load_spec("cartpole").hash,
    }
    assert len(others) == 3 and spec.hash not in others
    assert parse_spec(changed(reward, more=effort.replace("UNUSED", "other"))).hash == spec.hash


def test_the_ends_of_a_range_are_those_of_float32() -> None:
    """A row that says 1.2 holds 1.2000000477, of which an expression must be able to think."""
    speed = "{name: speed, shape: [1], range: [0.0, 1.2],"
    ranged = TOY.replace("{name: speed, shape: [1],", speed)
    text = "\n".join(line for line in ranged.splitlines() if "reward:" not in line)
    with pytest.raises(SpecError, match="sqrt: its argument must be between 0 and inf"):
        parse_spec(f'{text}\nreward: {{expression: "sqrt(1.2 - speed)"}}\n')
    spec = parse_spec(f'{text}\nreward: {{expression: "sqrt(1.21 - speed)"}}\n')
    assert spec.expressions["reward"]({"speed": np.array([1.2], np.float32)}, {}) == pytest.approx(0.1, abs=1e-6)
