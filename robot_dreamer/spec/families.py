"""Robots that are made from a name, of the form `<family>:<rest>`, instead of read from a file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robot_dreamer.spec.robot import RobotSpec

# Imported only when such a robot is named: a robot's own computer has no simulator.
FAMILIES = {"dmc": "sim.dmc_robot"}
"""Family -> the module whose `make_spec(rest)` makes its robots."""


def in_family(robot: str) -> bool:
    """Whether a robot of this name is made, not read."""
    family, colon, _ = robot.partition(":")
    return bool(colon) and family in FAMILIES


def make_spec(robot: str) -> RobotSpec:
    """The RobotSpec of a robot of a family.

    Raises:
      ModuleNotFoundError: what makes them is not installed here.
      SpecError: the family has no such robot.
    """
    family, _, rest = robot.partition(":")
    spec: RobotSpec = importlib.import_module(FAMILIES[family]).make_spec(rest)
    return spec
