"""The arguments of the launch files, from the tables of the programs, and how their texts become options."""

from __future__ import annotations

from collections.abc import Mapping

from robot_dreamer.processes.table import Options
from robot_dreamer.settings.policy_node import PolicyNodeSettings
from robot_dreamer.settings.setting import Setting, settings_of
from robot_dreamer.settings.sim_robot import SimRobotSettings

_OWN = {entry.name: entry for entry in settings_of(Options)}
_RENAMED = {"threads": "policy_threads"}  # of the policy node; the learner has threads too


def _further(table: type) -> dict[str, Setting]:
    """Settings of a program that the options do not have, by the name of their argument."""
    found = {_RENAMED.get(entry.name, entry.name): entry for entry in settings_of(table)}
    return {name: entry for name, entry in found.items() if name not in _OWN}


POLICY_NODE = _further(PolicyNodeSettings)
"""Arguments that only the policy node reads."""
SIM_ROBOT = _further(SimRobotSettings)
"""Arguments that only the simulated robot reads."""
ARGUMENTS: dict[str, Setting] = _OWN | POLICY_NODE | SIM_ROBOT
"""Every launch argument by name."""


def read_options(values: Mapping[str, str]) -> Options:
    """Options from texts by argument; those that are missing have their defaults.

    Raises:
      ValueError: names the argument, what was expected and what was found.
    """
    read = {name: ARGUMENTS[name].read(text) for name, text in values.items()}

    def further(table: Mapping[str, Setting]) -> dict[str, str | float | int | bool]:
        return {table[name].name: v for name, v in read.items() if name in table and v != table[name].default}

    own = {name: value for name, value in read.items() if name in _OWN}
    return Options(**own, policy_node=further(POLICY_NODE), sim_robot=further(SIM_ROBOT))
