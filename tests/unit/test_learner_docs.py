"""docs/implementation_details.md says what the code does: what it names exists, and its table counts what is built."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch

from robot_dreamer.config import Config, load_config
from tests.agents import IMAGE, SIX_ACTIONS, WALKER, count_parameters

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "implementation_details.md").read_text()
NAMED = sorted(set(re.findall(r"`([^`\n]+)`", TEXT)))
PLACES = [x for x in NAMED if re.match(r"[\w/]+\.py\b", x)]
MEMBERS = [x for x in NAMED if re.match(r"[A-Z]\w+\.\w+", x)]


def defined(path: Path) -> set[str]:
    """Functions, classes, `Class.method` and `Class.field` of a file."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        for item in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(item, ast.FunctionDef):
                found.add(f"{node.name}.{item.name}")
            elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                found.add(f"{node.name}.{item.target.id}")
    return found


EVERYWHERE = set().union(*(defined(path) for path in (ROOT / "robot_dreamer").rglob("*.py")))


GENERATIONS = ["World Models", "PlaNet", "Dreamer V1", "DreamerV2", "DayDreamer"]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_each_generation_before_v3_has_its_tricks_and_its_differences(generation: str) -> None:
    section = TEXT.split(f"\n## {generation}\n")[1].split("\n## ")[0]
    assert "| trick | equation | where | source |" in section
    assert "| where we differ | paper, code | ours | why |" in section


def test_much_is_named() -> None:
    assert len(PLACES) > 20 and len(MEMBERS) > 10


@pytest.mark.parametrize("place", PLACES)
def test_each_file_and_what_is_named_in_it_exist(place: str) -> None:
    file, _, symbols = place.partition(": ")
    (path,) = [folder / file for folder in (ROOT, ROOT / "robot_dreamer") if (folder / file).is_file()]
    assert {name.strip() for name in symbols.split(",") if name} <= defined(path)


@pytest.mark.parametrize("named", MEMBERS)
def test_each_member_of_a_class_exists(named: str) -> None:
    first, *rest = named.split(", ")
    owner = first.partition(".")[0]
    assert {first, *(f"{owner}.{name}" for name in rest)} <= EVERYWHERE


def where_cells() -> list[str]:
    """What is named in the columns "where", files and classes' members aside."""
    tables = [table.split("\n\n")[0] for table in TEXT.split("| trick | equation | where | source |\n")[1:]]
    cells = [re.split(r"(?<!\\)\|", line)[3] for table in tables for line in table.splitlines()]
    return sorted({x for cell in cells for x in re.findall(r"`([^`]+)`", cell)} - set(PLACES) - set(MEMBERS))


@pytest.mark.parametrize("named", where_cells())
def test_each_place_of_a_trick_exists(named: str) -> None:
    section, _, field = named.partition(".")
    if field:  # a setting
        assert hasattr(getattr(Config(), section), field)
    else:
        assert re.match(r"\w+", named).group() in EVERYWHERE  # type: ignore[union-attr]


COUNTS = re.findall(r"^\| (\w+) \| ([\d,]+) \| ([\d,]+) \|$", TEXT, re.MULTILINE)


def test_all_sizes_are_counted() -> None:
    assert [size for size, *_ in COUNTS] == ["nano", "1m", "12m", "25m", "50m", "100m", "200m", "400m"]


@pytest.mark.parametrize(("size", "proprio", "vision"), COUNTS)
def test_the_table_counts_what_is_built(size: str, proprio: str, vision: str) -> None:
    with torch.device("meta"):
        found = tuple(count_parameters(seen, SIX_ACTIONS, load_config(size)) for seen in (WALKER, IMAGE))
    assert found == (int(proprio.replace(",", "")), int(vision.replace(",", "")))
