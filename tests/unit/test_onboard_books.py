"""The books of an episode, by themselves: what is first, last and executed, and what is a mistake."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from robot_dreamer.onboard.books import EpisodeBooks
from robot_dreamer.onboard.sample import Sample
from robot_dreamer.record import StepRecord, validate_record
from robot_dreamer.spec import RobotSpec, Signal
from tests.onboard_models import toy_spec

SPEC = toy_spec()  # 5 actions per episode
ACTION = {"torque": np.array([0.5, -0.5], np.float32)}
ASKED = {"torque": np.array([2.0, -0.5], np.float32)}


def sample(t: int, terminal: bool = False, last: bool = False) -> Sample:
    observation = {"angle": np.array([1, 0], np.float32), "speed": np.array([t], np.float32)}
    return Sample(observation | {"watched": np.zeros(1, np.float32)}, 10.0 * t, terminal, 1000 * t, last)


def advance(books: EpisodeBooks, now: Sample) -> StepRecord:
    books.open(now)
    if books.over:
        return books.close(3)
    books.act(ACTION, ASKED, 3)
    return books.applied(now.stamp + 5)


def test_an_episode_of_n_actions_has_n_plus_1_rows() -> None:
    books = EpisodeBooks(SPEC, "r", "b")
    rows = [advance(books, sample(t)) for t in range(8)]
    for t, row in enumerate(rows):
        validate_record(row, SPEC)
        assert (row.robot, row.boot, row.sequence, row.episode) == ("r", "b", t, t // 6)
        assert (row.is_first, row.is_last, row.is_terminal) == (t in (0, 6), t == 5, False)
        assert row.reward == (0.0 if row.is_first else 10.0 * t)
        assert (row.stamp_capture, row.stamp_applied) == (1000 * t, 0 if row.is_last else 1000 * t + 5)
        np.testing.assert_array_equal(row.action["torque"], [0, 0] if row.is_last else ACTION["torque"])
        np.testing.assert_array_equal(row.action_requested["torque"], [0, 0] if row.is_last else ASKED["torque"])
    assert books.running and books.length == 2 and books.total == 70.0


@pytest.mark.parametrize("ending", ["terminal", "last"])
def test_the_task_and_the_worlds_own_time_limit_end_an_episode(ending: str) -> None:
    books = EpisodeBooks(SPEC, "r", "b")
    advance(books, sample(0))
    row = advance(books, sample(1, **{ending: True}))
    assert row.is_last and row.is_terminal == (ending == "terminal") and row.reward == 10.0
    assert not books.running
    assert advance(books, sample(2)).is_first


def test_who_closes_may_know_better_than_the_sample() -> None:
    books = EpisodeBooks(SPEC, "r", "b")
    advance(books, sample(0))
    books.open(sample(1))
    assert not books.over and books.close(3, terminal=True).is_terminal


def test_the_executed_action_is_kept_within_an_episode_only() -> None:
    books = EpisodeBooks(SPEC, "r", "b")
    assert not books.executed["torque"].any()
    advance(books, sample(0))
    assert books.executed is ACTION
    assert books.abandon() and not books.abandon()
    books.open(sample(1))
    assert not books.executed["torque"].any()


def test_an_open_row_is_dropped_by_abandon_and_leaves_no_gap() -> None:
    books = EpisodeBooks(SPEC, "r", "b")
    advance(books, sample(0))
    books.open(sample(1))
    books.act(ACTION, ASKED, 3)
    assert books.acted and books.abandon() and not books.observed
    row = advance(books, sample(2))
    assert row.is_first and (row.sequence, row.episode) == (1, 1)


def test_steps_out_of_order_are_mistakes() -> None:
    books = EpisodeBooks(SPEC, "r", "b")
    for step in (lambda: books.act(ACTION, ASKED, 3), lambda: books.applied(1), lambda: books.close(3)):
        with pytest.raises(RuntimeError, match="call open first"):
            step()
    books.open(sample(0))
    with pytest.raises(RuntimeError, match="call act first"):
        books.applied(1)
    with pytest.raises(RuntimeError, match="still open"):
        books.open(sample(1))


def judged(reward: str, terminal: str = "") -> RobotSpec:
    source = msgspec.structs.replace(SPEC.observations[1].source, field="effort")
    watched = msgspec.structs.replace(SPEC.observations[1], name="watched", source=source)
    return msgspec.structs.replace(
        SPEC,
        watched=(watched,),
        reward=Signal(expression=reward),
        terminal=Signal(expression=terminal) if terminal else None,
    )


def test_an_expression_sees_what_is_observed_watched_and_was_executed() -> None:
    action = SPEC.actions[0]
    spec = judged("speed + 100 * watched + 1000 * norm(torque)", "speed > 3")
    books = EpisodeBooks(spec, "r", "b")
    rows = []
    for t in range(5):
        now = books.judge(sample(t))
        assert now.terminal == (t > 3)
        rows.append(advance(books, now))
    executed = 1000 * np.linalg.norm(action.to_command(ACTION["torque"]))
    assert [row.reward for row in rows] == pytest.approx([0.0, *(t + executed for t in range(1, 5))])
    assert rows[-1].is_terminal and not rows[-2].is_last
    zero = 1000 * np.linalg.norm(action.to_command(action.zero()))
    assert books.judge(sample(2)).reward == pytest.approx(2 + zero)  # of the next episode, no action yet


def test_an_expression_looks_back_one_row_and_not_beyond_its_episode() -> None:
    books = EpisodeBooks(judged("speed - before(speed) + 100 * before(watched)", "speed > 3"), "r", "b")
    rows = [advance(books, books.judge(sample(t))) for t in (1, 2, 4)]
    assert [row.reward for row in rows] == pytest.approx([0.0, 1.0, 2.0]) and rows[-1].is_terminal
    assert books.judge(sample(2)).reward == 0.0  # the next episode's first row has none before it


def test_a_topic_says_what_no_expression_does() -> None:
    now = sample(1)
    assert EpisodeBooks(SPEC, "r", "b").judge(now) is now
    now = EpisodeBooks(judged("2 * speed"), "r", "b").judge(sample(1, terminal=True))
    assert now.reward == 2.0 and now.terminal
