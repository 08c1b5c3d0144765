"""docs/onboard.md and safety.md say what the code does: tests exist; rules, fields, parameters are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from robot_dreamer.spec import parse_spec
from robot_dreamer.spec.safety import RULES, TERMINAL_RULES, Safety
from tests.onboard_models import TOY

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "onboard.md").read_text()
NAMED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", TEXT)


SAFETY = (ROOT / "docs" / "safety.md").read_text()
RULE_TABLE = TEXT.split("| rule | trips when | reaction | test |")[1].split("\n\n")[0]


def cells(table: str, key: str) -> list[str]:
    """The cells of the only row that has `key` in its first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line]
    (found,) = [row for row in rows if f"`{key}`" in row[0]]
    return found


def test_many_tests_are_named() -> None:
    assert len(NAMED) > 50


@pytest.mark.parametrize(("file", "function"), sorted(set(NAMED)))
def test_each_named_test_exists(file: str, function: str) -> None:
    (path,) = ROOT.glob(f"tests/*/{file}")
    assert f"def {function}(" in path.read_text(), f"{file} has no {function}"


@pytest.mark.parametrize("file", sorted(set(re.findall(r"\btest_\w+\.py", TEXT))))
def test_each_named_file_exists(file: str) -> None:
    assert len([*ROOT.glob(f"tests/*/{file}")]) == 1


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_documented_with_its_default_reaction(rule: str) -> None:
    _, trips, reaction, tests = cells(RULE_TABLE, rule)
    assert reaction == Safety().reaction(rule) + (", terminal" if rule in TERMINAL_RULES else "")  # type: ignore[arg-type]
    assert trips and "::test_" in tests


def test_the_example_shows_every_field_and_the_true_defaults() -> None:
    example = TEXT.split("```yaml\nwatched:")[1].split("```")[0]
    section = example.split("safety:\n")[1]
    for field in msgspec.structs.fields(Safety):
        assert f"  {field.name}:" in section, field.name
    assert f"missed_deadlines: {Safety().missed_deadlines}  " in section
    joints = "{name: joint_position, shape: [2], source: {topic: j, type: sensor_msgs/msg/JointState, field: position, "
    robot = (
        TOY.replace("observations:", f"observations:\n  - {joints}names: [hip, knee]}}}}")
        .replace("name: torque", "name: joint_targets")
        .replace("observations:", "observations:\n  - {name: orientation, shape: [4], source: {topic: imu, "
                 "type: sensor_msgs/msg/Imu, field: orientation}}")
    )  # fmt: skip
    spec = parse_spec(f"{robot}\nwatched:{example}")
    assert spec.safety.surprise is not None and spec.safety.limits[1].after == 1.0


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_on_the_page_for_the_person_beside_the_robot(rule: str) -> None:
    assert f"`{rule}`" in SAFETY


@pytest.mark.parametrize("field", msgspec.structs.fields(Safety), ids=lambda field: field.name)
def test_each_setting_of_safety_is_there_too(field: msgspec.structs.FieldInfo) -> None:
    assert f"`{field.name}`" in SAFETY or f"`safety.{field.name}`" in SAFETY


def test_each_reaction_is_explained_with_its_heartbeat() -> None:
    table = SAFETY.split("| reaction | commands | heartbeat | mind |")[1].split("\n\n")[0]
    said = dict(re.findall(r"\| \*\*(\w+)\*\*[^|]*\|[^|]*\| (true|false) \|", table))
    assert said == {"ramp": "true", "stop": "false", "hold": "true", "damp": "false"}


def test_each_service_is_documented() -> None:
    for service in re.findall(r'"(~/\w+)"', (ROOT / "ros_nodes" / "services.py").read_text()):
        assert f"`{service}`" in TEXT, service
