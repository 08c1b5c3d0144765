"""Launch arguments are texts; they must fit the process table's options."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from robot_dreamer.processes import Options
from robot_dreamer.processes.launch_arguments import ARGUMENTS, read_options

DEFAULTS = {name: default for name, (default, _) in ARGUMENTS.items()}


def test_every_option_is_an_argument_with_the_same_default() -> None:
    assert set(ARGUMENTS) == {entry.name for entry in dataclasses.fields(Options)}
    assert read_options(DEFAULTS) == Options("cartpole", Path("runs/default"))


def test_texts_become_values() -> None:
    options = read_options(DEFAULTS | {"sim": "False", "clock": "realtime", "overrides": "a.b=1 c=2", "minutes": "1.5"})
    assert options.sim is False
    assert options.overrides == ("a.b=1", "c=2")
    assert options.minutes == 1.5
    assert options.random_actions is None and read_options(DEFAULTS | {"random_actions": "true"}).random_actions is True
    assert options.automatic is None and read_options(DEFAULTS | {"automatic": "false"}).automatic is False


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("sim", "maybe", "sim: expected true or false, found 'maybe'"),
        ("automatic", "maybe", "automatic: expected true or false, found 'maybe'"),
        ("seed", "1.5", "seed: expected a whole number, found '1.5'"),
        ("minutes", "long", "minutes: expected a number, found 'long'"),
    ],
)
def test_wrong_texts_are_named(name: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_options(DEFAULTS | {name: text})
