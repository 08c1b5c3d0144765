"""Where an episode begins and what is missing, told alike to all who read the rows of a boot."""

from __future__ import annotations

import pytest

from robot_dreamer.record import StepRecord
from robot_dreamer.succession import Succession


def row(sequence: int, episode: int, is_first: bool = False) -> StepRecord:
    return StepRecord("a", "boot", sequence, episode, {}, {}, {}, 0.0, is_first, False, False, 0, 0, 7)


LIVED = [row(n, n // 4, is_first=n % 4 == 0) for n in range(12)]


@pytest.mark.parametrize(
    ("without", "begin", "missing", "whole"),
    [
        ([], [0, 4, 8], 0, [0, 1, 2]),
        ([0, 1], [2, 4, 8], 2, [1, 2]),  # the rows before the first one that came
        ([5, 6], [0, 4, 8], 2, [0, 2]),  # in the middle
        ([4], [0, 5, 8], 1, [0, 2]),  # the first row of an episode
        ([7, 8], [0, 4, 9], 2, [0, 1]),  # the last one, and the next one's first: the former is whole as far as it came
    ],
)
def test_rows_that_are_missing_leave_the_other_episodes_whole(
    without: list[int], begin: list[int], missing: int, whole: list[int]
) -> None:
    succession, begins, missed = Succession(), [], 0
    seen: dict[int, bool] = {}
    for one in (row for row in LIVED if row.sequence not in without):
        succession.follow(one)
        missed += succession.missing
        seen[one.episode] = succession.whole
        if succession.begins:
            begins.append(one.sequence)
    assert begins == begin and missed == missing
    assert [episode for episode, is_whole in seen.items() if is_whole] == whole


def test_a_row_that_is_left_out_is_missed_until_the_next_episode() -> None:
    succession = Succession()
    for one in LIVED[:2]:
        succession.follow(one)
    succession.leave_out()
    found = []
    for one in LIVED[2:6]:
        succession.follow(one)
        found.append(succession.whole)
    assert found == [False, False, True, True]
