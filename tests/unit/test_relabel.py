"""The rows of a store with another reward."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from robot_dreamer.data.errors import DataError
from robot_dreamer.data.relabel import Coverage, covered, relabelled, with_task
from robot_dreamer.record import StepRecord, validate_record
from robot_dreamer.spec import RobotSpec, load_spec, parse_spec
from robot_dreamer.spec.signal import Signal
from tests.unit.test_trainer import SPEC, rows

_SOURCE = '"topic":"h","type":"std_msgs/msg/Float64MultiArray","field":"data","names":["h"]'
HEIGHT = f'{{"name":"height","shape":[1],"source":{{{_SOURCE}}}}}'
POSITION = "cart_position - 2 * force"


def relabel(experience: Sequence[StepRecord], reward: str = POSITION, terminal: str | None = None) -> list[StepRecord]:
    spec = with_task(SPEC, reward, terminal)
    found = list(relabelled(experience, spec, Coverage(), anew=terminal is not None))
    for row in found:
        validate_record(row, spec)
    return found


def test_the_reward_sees_the_observation_and_the_executed_action_that_led_to_it() -> None:
    experience = rows(0, 50)
    found = relabel(experience)
    assert len(found) == 50 and [row.sequence for row in found] == list(range(50))
    for before, old, new in zip([None, *experience], experience, found, strict=False):
        position = old.observation["cart_position"][0]
        force = 0.0 if before is None else before.action["force"][0]
        assert new.reward == pytest.approx(0.0 if old.is_first else position - 2 * force, abs=1e-6)
        same = dataclasses.replace(new, reward=old.reward)
        assert same.action == old.action and (same.is_first, same.is_last) == (old.is_first, old.is_last)


def test_the_end_of_the_new_task_ends_the_episode_and_leaves_no_gap() -> None:
    experience = rows(0, 62)  # two episodes
    over = [i for i, row in enumerate(experience) if row.observation["cart_position"][0] < -0.9]
    first, second = over[0], next(i for i in over if i >= 31)  # its first row already
    assert first < 31 == second
    coverage = Coverage()
    found = list(relabelled(experience, with_task(SPEC, POSITION, "cart_position < -0.9"), coverage))
    assert [row.stamp_capture for row in found] == [*range(first + 1), *range(31, second + 1)]
    assert [row.sequence for row in found] == list(range(len(found)))
    ends = [row for row in found if row.is_last]
    assert [row.stamp_capture for row in ends] == [first, second] and all(row.is_terminal for row in ends)
    assert all(not row.action["force"].any() and row.stamp_applied == 0 for row in ends)
    assert coverage.dropped == 62 - len(found) and len(coverage.returns) == 2


def test_an_old_end_that_is_none_any_more_is_a_cut() -> None:
    experience = rows(0, 31)
    experience[-1] = dataclasses.replace(experience[-1], is_terminal=True)
    assert relabel(experience)[-1].is_terminal
    (last,) = [row for row in relabel(experience, terminal="cart_position > 5") if row.is_last]
    assert not last.is_terminal


def test_rows_that_were_missing_stay_missing_and_what_led_behind_them_is_not_known() -> None:
    experience = [row for row in rows(0, 30) if row.sequence not in (7, 8, 9)]
    found = relabel(experience, "cart_position")
    assert [row.sequence for row in found] == [*range(7), *range(8, 28)]
    coverage = Coverage()
    judged = list(relabelled(experience, with_task(SPEC, POSITION), coverage))  # what led to row 10 is not known
    assert [row.stamp_capture for row in judged] == [*range(7), *range(11, 30)] and coverage.faults == 1
    behind = judged[7]
    force = experience[7].action["force"][0]
    assert behind.reward == pytest.approx(behind.observation["cart_position"][0] - 2 * force, abs=1e-6)


def test_an_episode_whose_first_rows_are_missing_is_none_of_the_one_before() -> None:
    whole = rows(0, 93)  # episodes of 31 rows
    found = relabel([row for row in whole if row.sequence not in (31, 32)], "cart_position")
    assert [row.episode for row in found if row.episode == 1] == [1] * 29
    assert len(found) == 91 and found[31].sequence == found[30].sequence + 2  # a gap


def test_a_reward_that_looks_back_needs_the_row_before() -> None:
    experience = [row for row in rows(0, 30) if row.sequence not in (7, 8, 9)]
    coverage = Coverage()
    found = list(relabelled(experience, with_task(SPEC, "cart_position - before(cart_position)"), coverage))
    assert [row.stamp_capture for row in found] == [*range(7), *range(11, 30)] and coverage.faults == 1
    for before, row in zip(experience[:-1], experience[1:], strict=True):
        (judged,) = [new for new in found if new.stamp_capture == row.stamp_capture] or [None]
        if judged is not None:
            step = row.observation["cart_position"][0] - before.observation["cart_position"][0]
            assert judged.reward == pytest.approx(step, abs=1e-6)


def test_rows_for_which_there_is_no_value_are_left_out_and_counted() -> None:
    ranged = SPEC.to_json().replace('"range":[]', '"range":[0.5,2.0]', 1)  # the first observation's
    experience, spec = rows(0, 30), with_task(parse_spec(ranged), "1 / cart_position")
    experience[4].observation["cart_position"][:] = 0.0
    coverage = Coverage()
    found = list(relabelled(experience, spec, coverage))
    assert coverage.faults == 1 and [row.stamp_capture for row in found] == [i for i in range(30) if i != 4]
    assert [row.sequence for row in found] == [*range(4), *range(5, 30)]


@pytest.mark.parametrize("missing", [31, 40])
def test_what_lacks_rows_is_not_said_to_be_the_best_episode(missing: int) -> None:
    experience = [row for row in rows(0, 93) if row.sequence != missing]
    coverage = covered(experience, with_task(SPEC, "abs(force) - 2"))  # below zero: the fewer rows the more
    assert len(coverage.returns) == 2 and len(coverage.rewards) > 80


def test_what_was_only_watched_is_not_in_the_rows() -> None:
    spec = load_spec("cartpole")
    watched = spec.to_json().replace('"watched":[]', f'"watched":[{HEIGHT}]')
    with pytest.raises(DataError, match=r"the rows hold what the policy saw \(cart_position.*not height, which"):
        with_task(parse_spec(watched), "height")


@pytest.mark.parametrize(
    ("reward", "terminal", "expected"),
    [
        ("cart_positon", None, "--reward: .*nearest: cart_position"),
        ("pole_angle", None, "--reward: expected one number"),
        ("cart_position", "cart_position", "--terminal: expected a condition"),
    ],
)
def test_a_wrong_expression_is_named_by_its_option(reward: str, terminal: str | None, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        with_task(SPEC, reward, terminal)


def test_a_store_that_does_not_cover_the_task_is_told() -> None:
    experience = rows(0, 200)

    def warning(reward: str) -> str:
        expression = with_task(SPEC, reward).expressions["reward"]
        return covered(experience, with_task(SPEC, reward)).warning(expression.low, expression.high)

    assert warning("pole_angle[0]") == ""  # the made-up pole turns round
    assert warning("cart_position") == ""  # nobody knows how far it could go
    assert "1% of its rows have a reward above 0.0" in warning("exp(-3 * abs(cart_position - 2))")
    with pytest.raises(DataError, match="the same in all 193 rows"):
        warning("3.0")
    assert np.isfinite(covered(experience, with_task(SPEC, "pole_angle[0]")).rewards).all()


def test_a_fall_stays_an_end_where_only_the_reward_is_new() -> None:
    """The guard's end of an episode: no expression tells it."""
    ended = msgspec.structs.replace(SPEC, terminal=Signal(expression="cart_position > 5"))
    experience = rows(0, 31)
    experience[-1] = dataclasses.replace(experience[-1], is_terminal=True)
    assert not any(row.is_terminal for row in relabelled(experience, with_task(ended, POSITION), Coverage(), anew=True))
    kept = list(relabelled(experience, with_task(ended, POSITION), Coverage()))
    assert [row.is_terminal for row in kept] == [False] * 30 + [True]


def watching(**expressions: str) -> RobotSpec:
    """The cart-pole that watches its height, with reward or terminal by expressions."""
    spec = parse_spec(SPEC.to_json().replace('"watched":[]', f'"watched":[{HEIGHT}]'))
    return msgspec.structs.replace(spec, **{name: Signal(expression=text) for name, text in expressions.items()})


def test_an_end_that_the_robot_only_watched_stays_where_the_rows_have_it() -> None:
    experience = rows(0, 31)
    experience[-1] = dataclasses.replace(experience[-1], is_terminal=True)
    kept = list(relabelled(experience, with_task(watching(terminal="height < 0.2"), POSITION), Coverage()))
    assert [row.is_terminal for row in kept] == [False] * 30 + [True] and kept[1].reward != 0.0


@pytest.mark.parametrize(
    ("reward", "terminal"), [("height", None), ("height", "cart_position > 5"), (POSITION, "height < 0.2")]
)
def test_a_task_that_needs_what_was_only_watched_is_refused(reward: str, terminal: str | None) -> None:
    with pytest.raises(DataError, match=r"the rows hold .*, not height, which the robot only watched"):
        with_task(watching(terminal="cart_position > 4"), reward, terminal)
