"""One declaration of a setting gives its check, its option, its argument and its row in the docs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import pytest

from robot_dreamer.processes import Options
from robot_dreamer.settings.__main__ import page
from robot_dreamer.settings.learner import LearnerSettings
from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.settings.setting import (
    add_options,
    check_all,
    command_line,
    refuse_unknown,
    same,
    setting,
    settings_of,
)
from robot_dreamer.spec import ROBOTS_DIRECTORY, load_spec


@dataclass(frozen=True)
class Toy:
    count: int = setting(3, "how many", least=1, most=5)
    share: float = setting(0.5, "of all", least=0.0)
    colour: str = setting("red", "of it", choices=("red", "blue"))
    loud: bool = setting(False, "or not")
    names: tuple[str, ...] = setting((), "of those", option="name")
    place: Path = setting(Path("here"), "where")
    maybe: bool | None = setting(None, "empty: as it comes")


@dataclass(frozen=True)
class Switch:
    on: bool = setting(True, "unless somebody says no")


@dataclass(frozen=True)
class Copy:
    count: int = same(Toy, "count", description="how many of the others")


COUNT, SHARE, COLOUR, LOUD, NAMES, PLACE, MAYBE = settings_of(Toy)


def parse(*line: str) -> Toy:
    parser = argparse.ArgumentParser()
    add_options(parser, Toy, [entry.name for entry in settings_of(Toy) if entry.name != "maybe"])
    found = vars(parser.parse_args(line))
    names = tuple(found.pop("name"))
    return Toy(**found, names=names)


@pytest.mark.parametrize(
    "toy",
    [Toy(), Toy(5, 1.25, "blue", True, ("a b", "c"), Path("/x y")), Toy(names=("--x=1",))],
)
def test_options_and_texts_say_the_same_as_values(toy: Toy) -> None:
    line = [word for word in command_line(toy)]
    if "--x=1" in line:  # argparse takes it for an option of its own
        line = ["--name=--x=1"]
    assert parse(*line) == toy
    for entry in settings_of(Toy):
        value = getattr(toy, entry.name)
        text = type(entry)(entry.name, entry.kind, value, "").shown
        assert entry.read(text) == value


@pytest.mark.parametrize(
    ("entry", "value", "expected"),
    [
        (COUNT, 0, "count: expected a whole number from 1 to 5, found 0"),
        (COUNT, 2.0, "count: expected a whole number from 1 to 5, found 2.0"),
        (COUNT, True, "count: expected a whole number from 1 to 5, found True"),
        (COUNT, None, "count: expected a whole number from 1 to 5, found None"),
        (SHARE, -0.1, "share: expected a number of at least 0, found -0.1"),
        (SHARE, float("nan"), "share: expected a number of at least 0, found nan"),
        (SHARE, float("inf"), "share: expected a number of at least 0, found inf"),
        (SHARE, "1", "share: expected a number of at least 0, found '1'"),
        (COLOUR, "green", "colour: expected red or blue, found 'green'"),
        (LOUD, 1, "loud: expected true or false, found 1"),
        (PLACE, 7, "place: expected a text, found 7"),
        (MAYBE, "x", "maybe: expected true or false, found 'x'"),
    ],
)
def test_wrong_values_are_named(entry, value, expected: str) -> None:
    with pytest.raises(ValueError) as error:
        entry.check(value)
    assert str(error.value) == expected


def test_whole_numbers_may_stand_for_others_and_nothing_for_what_may_be_open() -> None:
    assert SHARE.check(2) == 2.0 and type(SHARE.check(2)) is float
    assert MAYBE.check(None) is None and MAYBE.read(" ") is None and MAYBE.read("no") is False


def test_a_table_checks_its_values() -> None:
    with pytest.raises(ValueError, match="count: expected"):
        check_all(Toy(count=9))
    with pytest.raises(ValueError, match="minutes: expected a number of at least 0, found -1"):
        LearnerSettings(minutes=-1)


def test_what_another_program_declared_keeps_its_bounds() -> None:
    (copied,) = settings_of(Copy)
    assert (copied.least, copied.most, copied.default, copied.description) == (1, 5, 3, "how many of the others")


def test_a_tilde_is_the_home_folder_where_no_shell_has_seen_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a ROS parameter file: the policy node kept its spool in a folder of that name."""
    monkeypatch.setenv("HOME", str(tmp_path))
    entries = [entry for table in (PolicyNodeSettings, LearnerSettings, Options) for entry in settings_of(table)]
    files = [entry for entry in entries if entry.file or entry.kind == "Path"]
    assert {"bundle", "trusted_signers", "logdir", "keys", "learner_keys", "init_from"} <= {x.name for x in files}
    assert {str(entry.read("~/x")) for entry in files} == {str(tmp_path / "x")}
    logdir = next(entry for entry in settings_of(PolicyNodeSettings) if entry.name == "logdir")
    assert logdir.check("~/x") == str(tmp_path / "x") and logdir.check("") == ""
    (tmp_path / "mine.yaml").write_text((ROBOTS_DIRECTORY / "cartpole.yaml").read_text())
    assert load_spec("~/mine.yaml").folder == tmp_path


def test_unknown_names_are_refused_with_the_nearest_known_one() -> None:
    refuse_unknown(["count"], ["count", "share"], "parameter")
    with pytest.raises(ValueError, match="^unknown parameter 'cuont'; did you mean count\\?$"):
        refuse_unknown(["cuont"], ["count", "share"], "parameter")
    with pytest.raises(ValueError, match="^unknown parameter 'zzz'; known: count, share$"):
        refuse_unknown(["zzz"], ["share", "count"], "parameter")


def test_the_page_of_the_docs_is_what_the_tables_say() -> None:
    found = (Path(__file__).parents[2] / "docs/settings.md").read_text(encoding="utf-8")
    assert found == page(), "python -m robot_dreamer.settings > docs/settings.md"


@pytest.mark.parametrize("on", [True, False])
def test_what_is_on_can_be_switched_off(on: bool) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, Switch)
    assert parser.parse_args(command_line(Switch(on))).on is on
