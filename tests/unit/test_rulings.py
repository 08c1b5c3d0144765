"""What a person says of an episode: it ends with the next row, as the person says, and no other does."""

from __future__ import annotations

import pytest

from robot_dreamer.onboard.rulings import Ruling
from robot_dreamer.spec import SpecError, parse_spec
from tests.onboard_models import TOY
from tests.scripted_runs import SPEC, Run

JUDGED = "\noperator: {success: 3.0, failure: -2.0}\n"


def ruled(ruling: Ruling, text: str = TOY + JUDGED) -> Run:
    run = Run(spec=parse_spec(text))
    run.tick()
    run.tick()
    run.controller.rulings.say(ruling)
    assert run.tick().is_last
    return run


@pytest.mark.parametrize(
    ("ruling", "reward", "terminal"),
    [(Ruling.SUCCESS, 23.0, True), (Ruling.FAILURE, 18.0, True), (Ruling.END, 20.0, False)],
)
def test_it_ends_the_episode_with_the_next_row(ruling: Ruling, reward: float, terminal: bool) -> None:
    run = ruled(ruling)
    row = run.rows[-1]
    assert (row.reward, row.is_last, row.is_terminal) == (reward, True, terminal) and len(run.rows) == 3
    assert run.controller.episodes == 1 and run.controller.last_return == 10.0 + reward
    assert not run.tick().is_last and run.rows[-1].is_first


def test_it_comes_on_top_of_an_expression() -> None:
    lines = [line for line in TOY.splitlines() if not line.startswith(("reward", "terminal"))]
    text = "\n".join([*lines, "reward: {expression: '0.5 * speed[0]'}", "terminal: {expression: 'speed[0] > 100'}"])
    row = ruled(Ruling.SUCCESS, text + JUDGED).rows[-1]
    assert row.reward == 0.5 * 2 + 3.0 and row.is_terminal


def test_a_word_about_an_episode_that_is_over_ends_no_other() -> None:
    run = Run()
    rulings = run.controller.rulings
    rulings.say(Ruling.SUCCESS)
    assert not run.tick().is_last and rulings.lost == 1
    rulings.say(Ruling.END)
    rulings.say(Ruling.FAILURE)
    assert run.tick().is_last and not run.rows[-1].is_terminal and rulings.lost == 2
    assert not run.tick().is_last and not run.tick().is_last


def test_without_a_worth_the_reward_is_as_it_is_and_the_hash_as_it_was() -> None:
    assert ruled(Ruling.SUCCESS, TOY).rows[-1].reward == 20.0
    assert parse_spec(TOY + "\noperator: {success: 0.0}\n").hash == SPEC.hash
    assert parse_spec(TOY + JUDGED).hash != SPEC.hash


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ("operator: {success: .inf}", "field operator: success must be a finite number, found inf"),
        ("operator: {sucess: 1.0}", "sucess"),
        (
            "operator: {failure: -2.0}\nreward_range: [-1.0, 1.0]",
            "operator.failure must be within reward_range, found -2",
        ),
    ],
)
def test_a_worth_that_cannot_be(more: str, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        parse_spec(f"{TOY}\n{more}\n")
