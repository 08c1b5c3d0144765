"""One reader of YAML for specs, presets and --set: spellings, duplicates, tags, sizes; any text is read or refused."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_dreamer import plain_yaml
from robot_dreamer.cli import main
from robot_dreamer.config import load, load_config
from robot_dreamer.plain_yaml import PlainYamlError, read
from robot_dreamer.spec import SpecError, load_spec, parse_spec
from robot_dreamer.spec.robot import ROBOTS_DIRECTORY

CARTPOLE = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text(encoding="utf-8")
NUMBERS = [
    ("50", 50),
    ("-3", -3),
    ("+3", 3),
    ("0", 0),
    ("0x10", 16),
    ("0o10", 8),
    ("1e4", 10_000),
    ("5e1", 50),
    ("1.0e+4", 10_000),
    ("3e-4", 3e-4),
    ("3.e-4", 3e-4),
    (".5", 0.5),
    ("1.", 1.0),
    ("-1.5E3", -1500),
    ("2.50", 2.5),
]
TEXTS = [
    "no",
    "off",
    "yes",
    "2001-13-45",
    "2026-11-29",
    "a_1",
    "1a",
    "1.2.3",
    "tcp://h:1",
    "e5",
    "'010'",
    '"1:30"',
    "0x",
]
REFUSED = [
    ("010", "leading zero"),
    ("-007", "leading zero"),
    ("1:30", "base 60"),
    ("1:30:00.5", "base 60"),
    ("1_000", "underscores"),
    ("0b101", "decimal"),
    ("9" * 5000, "at most 40 characters"),
    ("1e999", "below 1e308"),
    ("!!int x", "tags"),
    ("!!bool 5", "tags"),
    ("!!timestamp 9", "tags"),
    ("!!python/object:os.system x", "tags"),
    ("! x", "tags"),
    ("{a: 1, b: 2, a: 3}", "'a' stands twice, in line 1"),
    ("{? [1, 2] : 3}", "plain text as a key"),
    ("[" * 2000, "levels"),
    ("{a: " * 200, "levels"),
    ("- " * 200 + "x", "levels"),
    ("[1, 2", "not valid YAML"),
    ("a: b: c", "not valid YAML"),
    ("\x00", "not valid YAML"),
    ("a\n---\nb", "not valid YAML"),
    ("*nobody", "not valid YAML"),
    ("&a [*a]", "too large"),
    ("x" * (1 << 20 | 1), "characters"),
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_numbers_mean_the_same_at_all_doors(text: str, value: float) -> None:
    found = read(text).value
    assert found == value and isinstance(found, type(value)) or (type(found) is int and value == int(value))
    if value > 0:
        assert (
            parse_spec(CARTPOLE.replace("max_steps", f"reset_timeout: {text}\n  max_steps")).episode.reset_timeout
            == value
        )
        assert load_config("nano", [f"train_ratio={text}"]).train_ratio == value
    if isinstance(found, int) and value > 0:
        assert parse_spec(CARTPOLE.replace("max_steps: 250", f"max_steps: {text}")).episode.max_steps == value
        assert load_config("nano", [f"replay_capacity={text}"]).replay_capacity == value


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_number_is_a_text(text: str) -> None:
    assert read(text).value == text.strip("'\"")
    with pytest.raises(SpecError, match=r"<text>, line 4, field rate: Expected `float`, got `str`"):
        parse_spec(CARTPOLE.replace("rate: 25.0", f"rate: {text}"))
    with pytest.raises(ValueError, match="train_ratio: expected a finite number, found"):
        load_config("nano", [f"train_ratio={text}"])


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_read_is_refused_with_its_line_at_all_doors(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PlainYamlError, match=words) as found:
        read(text)
    assert found.value.line >= 1
    with pytest.raises(SpecError, match=r"<text>, line \d+: "):
        parse_spec(text)
    with pytest.raises(ValueError, match=r"^batch_size: .* is not a value: "):
        load_config("nano", [f"batch_size={text}"])
    (tmp_path / "broken.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(load, "_FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"broken.yaml, line \d+: "):
        load_config("broken")


DUPLICATES = [
    ("rate: 25.0", "rate: 25.0\nrate: 50.0", "line 5: the key 'rate' stands twice, in line 4"),
    ("    low: [-1.0]", "    low: [-1.0]\n    low: [-9.0]", "'low' stands twice"),
    ("  max_steps: 250", "  max_steps: 250\n  max_steps: 10", "'max_steps' stands twice"),
    ("field: velocity,", "field: velocity, field: position,", "'field' stands twice"),
    ("name: cartpole\n", "name: cartpole\nsafety: {stale_seconds: 0}\nsafety: {}\n", "'safety' stands twice"),
]


@pytest.mark.parametrize(("old", "new", "words"), DUPLICATES)
def test_a_key_that_stands_twice_is_refused_at_each_level(old: str, new: str, words: str) -> None:
    assert old in CARTPOLE
    with pytest.raises(SpecError, match=words):
        parse_spec(CARTPOLE.replace(old, new, 1))


def test_one_field_is_set_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = ["--set", "model.deter=8", "--set", "model.deter =16"]
    assert main(["train", "--env", "robot:cartpole", "--logdir", str(tmp_path), *twice]) == 2
    assert "model.deter is set twice, by --set model.deter=8 already" in capsys.readouterr().err


def test_merge_keys_stay() -> None:
    text = "base: &b {a: 1, b: 2}\nother: &o {a: 5, c: 6}\nx: {<<: *b, b: 3}\ny: {<<: [*b, *o], d: 7}"
    found = read(text).value
    assert found["x"] == {"a": 1, "b": 3} and found["y"] == {"a": 1, "b": 2, "c": 6, "d": 7}
    with pytest.raises(PlainYamlError, match="expected a map, or a list of maps, behind <<"):
        read("{<<: 5}")


def test_aliases_that_multiply_are_refused_before_they_do() -> None:
    laughs = "simulation:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for last, name in zip("abcdefgh", "bcdefghi", strict=True):
        laughs += f"  {name}: &{name} [{', '.join([f'*{last}'] * 10)}]\n"
    with pytest.raises(SpecError, match="its aliases make it too large"):
        parse_spec(CARTPOLE.split("simulation:")[0] + laughs)


def test_numbers_that_json_cannot_hold_are_refused_in_the_free_part_too() -> None:
    with pytest.raises(SpecError, match=r"field simulation.x\[1\]: expected a finite number, found nan"):
        parse_spec(CARTPOLE + "  x: [1, .nan]\n")


def test_a_file_is_utf8_whatever_the_locale(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    text = CARTPOLE.replace("free pole", "free pole at 90\u00b0").replace(
        "description: Cart", "description: 90\u00b0 cart"
    )
    path.write_bytes(text.encode("latin-1"))
    line = text[: text.index("\u00b0")].count("\n") + 1
    with pytest.raises(SpecError, match=rf"robot.yaml, line {line}: not UTF-8 \(byte 0xb0\): save the file as UTF-8"):
        load_spec(path)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load_spec(path).description.startswith("90\u00b0")
    code = "import sys; from robot_dreamer.spec import load_spec; print(ascii(load_spec(sys.argv[1]).description[:3]))"
    command = [sys.executable, "-X", "utf8=0", "-c", code, str(path)]
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    found = subprocess.run(command, env=os.environ | locale, check=True, capture_output=True, text=True).stdout
    assert found.strip() == r"'90\xb0'"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_value_or_refused_by_line(text: str) -> None:
    try:
        read(text)
    except PlainYamlError as error:
        assert error.line >= 1


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.soak)])
def test_a_changed_spec_is_a_spec_or_a_spec_error(count: int) -> None:
    pieces = [
        "!!int",
        "&a",
        "*a",
        "[",
        "]",
        "{",
        "}",
        ": ",
        "\n",
        "  ",
        "9" * 50,
        ".nan",
        "-",
        "?",
        "'",
        "\u00b0",
        "\x07",
        "010",
        "~",
    ]
    for seed in range(count):
        chance = random.Random(seed)
        text = list(CARTPOLE)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(text))
            text[at : at + chance.choice([0, 0, 1, 5, 40])] = chance.choice(pieces)
        try:
            parse_spec("".join(text))
        except SpecError:
            continue
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error


def test_the_reader_is_the_only_one() -> None:
    """No other module makes values of YAML."""
    root = Path(plain_yaml.__file__).parents[1]
    rooms = [
        path
        for room in ("robot_dreamer", "ros_nodes", "sim", "export", "launch")
        for path in (root / room).rglob("*.py")
    ]
    assert [path.name for path in rooms if "import yaml" in path.read_text(encoding="utf-8")] == ["plain_yaml.py"]
