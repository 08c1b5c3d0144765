"""RobotSpec: what is refused and how, the canonical hash, and the one conversion between actions and commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_dreamer.spec import (
    ROBOTS_DIRECTORY,
    ActionSpec,
    Command,
    SpecError,
    SpecMismatch,
    known_robots,
    load_spec,
    parse_spec,
    require_lockstep,
    require_same_spec,
)
from robot_dreamer.spec.action import FLOAT

TEXT = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text()


@pytest.mark.parametrize("robot", known_robots())
def test_every_shipped_robot_loads_and_has_spaces(robot: str) -> None:
    spec = load_spec(robot)
    assert spec.name == robot
    assert set(spec.observation_space()) == {o.name for o in spec.observations}
    assert set(spec.action_space()) == {a.name for a in spec.actions}
    assert parse_spec(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "problem"),
    [
        ("rate: 25.0", "rate: fast", 4, "rate", "Expected `float`, got `str`"),
        ("rate: 25.0", "rate: -1.0", 1, "top level", "rate must be in"),
        ("shape: [2]", "shape: [3]", 10, "observations[1]", "shape must be [2] to fit its source"),
        ("field: velocity", "field: speed", 13, "observations[1].source", "'speed' is not one of position, velocity"),
        ("low: [-1.0]", "lo: [-1.0]", 20, "actions[0]", "unknown field `lo`"),
        ("low: [-1.0]", "low: [1.0]", 20, "actions[0]", "each low must be below its high"),
        ("neutral: [0.0]", "neutral: [2.0]", 20, "actions[0]", "must lie within low and high"),
        (
            "names: [slider]}",
            "names: [slider], max_age: .inf}",
            9,
            "observations[0].source",
            "max_age must be positive",
        ),
        ("low: [-1.0]", "values: [[.nan], [1.0]]", 20, "actions[0]", "not both"),
        ("reset_service: reset", "reset_service: re set", 28, "episode", "'re set' is no ROS 2 name"),
        (
            "topic: joint_states,",
            "topic: joint states,",
            9,
            "observations[0].source",
            "'joint states' is no ROS 2 name",
        ),
        ("max_steps: 250", "max_steps: 0", 28, "episode", "max_steps must be at least 1"),
        ("name: pole_angle", "name: cart_position", 1, "top level", "found twice: cart_position"),
        ("name: cartpole", "name: Cart Pole", 1, "top level", "must be lower case"),
        (
            "sensor_msgs/msg/JointState, field: velocity",
            "sensor_msgs/msg/Odor, field: velocity",
            13,
            "observations[1].source.type",
            "Invalid enum value",
        ),  # noqa: E501
    ],
)
def test_a_broken_file_is_refused_with_file_line_and_field(
    old: str, new: str, line: int, field: str, problem: str
) -> None:
    assert old in TEXT
    with pytest.raises(SpecError) as refused:
        parse_spec(TEXT.replace(old, new, 1), "my_robot.yaml")
    assert f"my_robot.yaml, line {line}, field {field}: " in str(refused.value)
    assert problem in str(refused.value)


def test_broken_yaml_names_the_line() -> None:
    with pytest.raises(SpecError, match=r"my_robot.yaml, line 4: not valid YAML"):
        parse_spec(TEXT.replace("name: cartpole", "name: [", 1), "my_robot.yaml")


def test_unknown_robot_lists_the_known_ones_and_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"unknown robot 'catpole'; known: a1, a1_stand"):
        load_spec("catpole")
    with pytest.raises(SpecError, match=r"cannot read robot file .*nothing.yaml"):
        load_spec(tmp_path / "nothing.yaml")


def test_the_hash_is_of_the_contract_not_of_its_looks() -> None:
    spec = parse_spec(TEXT)
    assert parse_spec("# a comment\n" + TEXT.replace("description: Cart", "description: A cart")).hash == spec.hash
    assert parse_spec(TEXT.replace("model: dm_control:cartpole/swingup", "model: another")).hash == spec.hash
    for old, new in (("rate: 25.0", "rate: 20.0"), ("names: [slider, hinge_1]", "names: [hinge_1, slider]")):
        assert parse_spec(TEXT.replace(old, new)).hash != spec.hash


def test_a_mismatch_shows_both_sides() -> None:
    ours, theirs = parse_spec(TEXT), parse_spec(TEXT.replace("high: [1.0]", "high: [2.0]"))
    require_same_spec(ours, parse_spec(TEXT), "the bundle b")
    with pytest.raises(SpecMismatch) as refused:
        require_same_spec(ours, theirs, "the bundle b")
    for part in ("the bundle b", ours.hash[:12], theirs.hash[:12], "actions[0].high[0]: ours 1.0, theirs 2.0"):
        assert part in str(refused.value)


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=2))
def test_actions_map_linearly_onto_the_limits_and_back(values: list[float]) -> None:
    spec = ActionSpec("arm", Command("c"), low=(-2.0, 0.0), high=(6.0, 10.0))
    action = np.asarray(values, np.float32)
    command = spec.to_command(action)
    assert (command >= spec.low).all() and (command <= spec.high).all()
    np.testing.assert_allclose(spec.from_command(command), action, atol=1e-6)
    np.testing.assert_allclose(spec.to_command(np.array([-1.0, 1.0])), [-2.0, 10.0])
    np.testing.assert_allclose(spec.to_command(np.array([0.0, 0.0])), [2.0, 5.0])
    np.testing.assert_allclose(spec.to_command(np.array([9.0, -9.0])), [6.0, 0.0])  # never beyond the limits


def test_discrete_actions_are_rows_of_commands() -> None:
    spec = ActionSpec("gear", Command("c"), values=((0.0, 0.0), (1.0, -1.0), (5.0, 2.0)))
    for index in range(3):
        assert int(spec.from_command(spec.to_command(np.asarray(index)))) == index
    assert spec.shape == () and spec.zero().dtype == np.int64
    np.testing.assert_array_equal(spec.neutral_command(), [0.0, 0.0])


def test_the_neutral_command_is_zero_clipped_into_the_limits() -> None:
    spec = ActionSpec("arm", Command("c"), low=(-2.0, 1.0), high=(6.0, 10.0))
    np.testing.assert_array_equal(spec.neutral_command(), [0.0, 1.0])


ACTION = "  - {name: arm, low: [-1, -1], high: [1, 1], command: {topic: c, names: [a, b]}}\n"


def with_action(old: str, new: str) -> str:
    """The cart-pole's file with a second action, changed."""
    assert old in ACTION
    return TEXT.replace("reward:", ACTION.replace(old, new) + "reward:", 1)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("topic: c, names: [a, b]", "topic: c, type: std_msgs/msg/Int8", "Invalid enum value 'std_msgs/msg/Int8'"),
        ("topic: c", "topic: ''", "topic must not be empty"),
        ("topic: c", "topic: arm commands", "'arm commands' is no ROS 2 name"),
        ("topic: c", "topic: arm/", "'arm/' is no ROS 2 name"),
        ("topic: c", "topic: 1c", "'1c' is no ROS 2 name"),
        ("topic: c", "topic: a__c", "'a__c' is no ROS 2 name"),
        ("topic: c, names: [a, b]", "topic: '{name}/c', type: std_msgs/msg/Float64, names: [a, b-1]", "'b-1/c' is no"),
        ("names: [a, b]", "names: [a, a]", "names has a duplicate: a, a"),
        ("names: [a, b]", "names: [a]", "command.names needs 2 entries"),
        ("names: [a, b]", "type: trajectory_msgs/msg/JointTrajectory", "names must list the joints"),
        ("topic: c", "topic: c, type: geometry_msgs/msg/Twist", "found a, b"),
        ("topic: c", "topic: c, type: std_msgs/msg/Float64", "must contain {name}, one topic per joint"),
        ("topic: c", "topic: 'c/{name}'", "{name} in a topic is for std_msgs/msg/Float64 only"),
        ("topic: c", "topic: c, field: velocities", "field is for trajectory_msgs/msg/JointTrajectory only"),
        ("topic: c", "topic: c, time_from_start: 0.5", "time_from_start is for trajectory_msgs/msg/Joint"),
        ("topic: c", "topic: c, frame: base", "frame is for geometry_msgs/msg/TwistStamped only, not for std_msgs"),
        (
            "topic: c, names: [a, b]",
            "topic: c, type: geometry_msgs/msg/TwistStamped, names: [linear.x, angular.z], frame: /base",
            "frame '/base': names of frames do not begin with /",
        ),
        ("topic: c", "topic: c, scale: [1.0, 0.0]", "scale must not be 0"),
        ("topic: c", "topic: c, scale: [1.0, .inf]", "scale must be finite"),
        ("topic: c", "topic: c, offset: [1.0]", "command.offset needs 2 numbers, found 1"),
        ("high: [1, 1]", "high: [1, 1], filter: {cutoff: 0}", "cutoff must be positive Hz, found 0"),
        ("high: [1, 1]", "high: [1, 1], filter: {cutoff: 1, order: 9}", "order must be 1 to 8, found 9"),
        ("high: [1, 1]", "high: [1, 1], filter: {cutoff: 12.5}", "filter of action arm: cutoff must be below half"),
        ("low: [-1, -1], high: [1, 1]", "values: [[0, 0], [1, 1]], filter: {cutoff: 1}", "for continuous actions only"),
    ],
)
def test_a_broken_command_is_refused(old: str, new: str, problem: str) -> None:
    with pytest.raises(SpecError, match="my_robot.yaml, line") as refused:
        parse_spec(with_action(old, new), "my_robot.yaml")
    assert problem in str(refused.value)


def test_command_numbers_are_scaled_and_offset_into_the_message_and_back() -> None:
    command = Command("c", names=("a", "b"), scale=(-2.0, 0.5), offset=(1.0, 0.0))
    np.testing.assert_allclose(command.to_message(np.array([3.0, 4.0])), [-5.0, 2.0])
    np.testing.assert_allclose(command.from_message(np.array([-5.0, 2.0])), [3.0, 4.0])
    plain = Command("c")
    np.testing.assert_array_equal(plain.from_message(plain.to_message(np.array([3.0]))), [3.0])


def test_one_topic_per_joint() -> None:
    assert Command("leg/{name}/command", FLOAT, ("a", "b")).topics == ("leg/a/command", "leg/b/command")
    assert Command("leg/commands", names=("a", "b")).topics == ("leg/commands",)


def test_what_is_as_the_default_says_does_not_count_in_the_hash() -> None:
    spec = parse_spec(TEXT)
    written_out = TEXT.replace("field: velocity,", "field: velocity, max_age: 0.5,")
    written_out = written_out.replace(
        "topic: effort_controller/commands", "topic: effort_controller/commands, offset: []"
    )
    assert written_out != TEXT and parse_spec(written_out).hash == spec.hash
    filtered = parse_spec(TEXT.replace("neutral: [0.0]", "neutral: [0.0]\n    filter: {cutoff: 3.0}"))
    with pytest.raises(SpecMismatch, match=r'actions\[0\].filter: ours not given, theirs {"cutoff": 3.0}'):
        require_same_spec(spec, filtered, "the bundle b")


def test_lockstep_needs_commands_that_say_what_they_answer() -> None:
    require_lockstep(parse_spec(TEXT))
    for old, new in (
        ("topic: c, names: [a, b]", "topic: c, type: geometry_msgs/msg/Twist, names: [linear.x, angular.z]"),
        ("topic: c", "topic: 'c/{name}', type: std_msgs/msg/Float64"),
    ):
        with pytest.raises(SpecError, match="action arm: a .* cannot say which sensors it answers"):
            require_lockstep(parse_spec(with_action(old, new)))


IMAGE = (
    "  - {name: image, shape: [64, 64, 3], dtype: uint8, picture: {size: [480, 640], crop: [0, 80, 480, 480]}, source: \
{topic: c, type: sensor_msgs/msg/Image, field: data}}\n"
)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("size: [480, 640]", "size: [480]", "Expected `array` of length 2, got 1"),
        ("size: [480, 640]", "size: [0, 640]", "size must be positive"),
        ("crop: [0, 80, 480, 480]", "crop: [0, 80]", "crop needs top, left, height and width, found [0, 80]"),
        ("crop: [0, 80,", "crop: [0, 161,", "crop [0, 161, 480, 480] must lie within size [480, 640]"),
        ("crop: [0, 80,", "crop: [-1, 80,", "must lie within size"),
        ("shape: [64,", "shape: [481,", "pictures are only made smaller: [480, 480] cannot become [481, 64]"),
        ("dtype: uint8,", "dtype: uint8, scale: [2],", "scale needs 0 numbers (one per name), found 1"),
    ],
)
def test_a_broken_picture_is_refused(old: str, new: str, problem: str) -> None:
    text = TEXT.replace("actions:", IMAGE + "actions:", 1)
    parse_spec(text)
    assert old in text
    with pytest.raises(SpecError, match="my_robot.yaml, line") as refused:
        parse_spec(text.replace(old, new, 1), "my_robot.yaml")
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("scale: [1, 2, 3]", "scale needs 2 numbers"),
        ("scale: [1, 0]", "scale must not be 0"),
        ("offset: [.nan, 0]", "offset must be finite"),
        ("picture: {size: [4, 4]}", "picture is for images only"),
    ],
)
def test_broken_units_are_refused(extra: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        parse_spec(TEXT.replace("    unit: m/s, rad/s\n", f"    unit: m/s, rad/s\n    {extra}\n", 1))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("field: data, names: [a, b]", "field: data", "names must list all numbers of the array"),
        ("field: data, names: [a, b]", "field: data, names: [a, b, c]", "shape must be [3] to fit its source"),
        ("field: data, names: [a, b]", "field: layout, names: [a, b]", "field 'layout' is not one of data"),
        ("field: position}", "field: pose}", "is not one of position, orientation, linear_velocity, angular_velocity"),
        ("field: position}", "field: position, names: [a]}", "names is for JointState and Float64MultiArray only"),
    ],
)
def test_broken_arrays_and_odometry_are_refused(old: str, new: str, problem: str) -> None:
    numbers = "{topic: f, type: std_msgs/msg/Float64MultiArray, field: data, names: [a, b]}"
    feet = f"  - {{name: feet, shape: [2], source: {numbers}}}"
    odometry = "  - {name: place, shape: [3], source: {topic: o, type: nav_msgs/msg/Odometry, field: position}}"
    text = TEXT.replace("actions:", f"{feet}\n{odometry}\nactions:", 1)
    parse_spec(text)
    assert old in text
    with pytest.raises(SpecError) as refused:
        parse_spec(text.replace(old, new, 1))
    assert problem in str(refused.value)


def test_the_reward_comes_from_a_joint_state() -> None:
    reward = "reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}"
    other = "reward: {topic: task, type: std_msgs/msg/Float64MultiArray, field: data, names: [reward]}"
    with pytest.raises(
        SpecError, match="field reward: must come from a sensor_msgs/msg/JointState, not from a std_msgs"
    ):
        parse_spec(TEXT.replace(reward, other))
