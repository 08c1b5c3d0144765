"""docs/link.md says what the code does: its tests exist, its numbers and messages are those of the code."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest

from robot_dreamer.link.messages import FromLearner, FromRobot
from robot_dreamer.link.timing import LIMITS, TIMING

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "link.md").read_text()
TIMES = TEXT.split("## Times and sizes")[1].split("\n## ")[0]
SCALE = {"ms": 1e-3, "s": 1.0, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "": 1}


def test_each_promise_has_its_test() -> None:
    table = TEXT.split("## Promises and their tests")[1]
    found = re.findall(r"`(test_\w+\.py)?(?:::(test_\w+))?`", table)
    assert len(found) > 25
    file = ""
    for named, function in found:
        file = named or file
        (path,) = ROOT.glob(f"tests/*/{file}")
        assert not function or f"def {function}(" in path.read_text(), f"{file} has no {function}"


@pytest.mark.parametrize("field", [*dataclasses.fields(TIMING), *dataclasses.fields(LIMITS)], ids=lambda f: f.name)
def test_each_default_is_documented(field: dataclasses.Field) -> None:
    value = getattr(TIMING if hasattr(TIMING, field.name) else LIMITS, field.name)
    row = next(line for line in TIMES.splitlines() if line.startswith("|") and f"`{field.name}`" in line.split("|")[1])
    names = re.findall(r"`(\w+)`", row.split("|")[1])
    number, unit = row.split("|")[2].split(",")[names.index(field.name)].strip().partition(" ")[::2]
    assert float(number) * SCALE[unit] == pytest.approx(value)


@pytest.mark.parametrize("message", [*get_args(FromRobot), *get_args(FromLearner)], ids=lambda m: m.__name__)
def test_each_message_is_documented_with_its_fields(message: type) -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{message.__name__.lower()}` |"))
    for field in message.__struct_fields__:
        assert f"`{field}`" in row, f"{message.__name__}.{field} is not in docs/link.md"
