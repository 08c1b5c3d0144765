"""The arguments of the launch files: names, defaults, descriptions, and how their texts become options."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_dreamer.processes.table import LOCAL_ADDRESS, Options

ARGUMENTS = {
    "robot": ("cartpole", "RobotSpec: name of a shipped robot, or path of a YAML file"),
    "task": ("", "another task of the same robot: its RobotSpec is <robot>_<task>; empty: the robot's own"),
    "sim": ("true", "start the simulated robot; false: a driver runs already"),
    "clock": ("lockstep", "lockstep: the (simulated) world waits for every command; realtime: it does not wait"),
    "speed": ("0", "lockstep: at most so many times real time; 0: as fast as the machine allows"),
    "learner": ("local", "local: start one here; tcp://host:port: one that runs elsewhere; empty: none, act only"),
    "bind": (LOCAL_ADDRESS, "where the local learner listens; beyond this machine it needs learner_keys"),
    "preset": (
        "cpu_small",
        "training configuration of the local learner, several joined by colons (robot-dreamer list)",
    ),
    "overrides": ("", "changes to the preset, separated by spaces: FIELD=VALUE FIELD=VALUE"),
    "minutes": ("0", "training budget of the local learner; 0: no limit"),
    "steps": ("0", "training budget of the local learner in environment steps; 0: no limit"),
    "threads": ("1", "CPU threads of the local learner"),
    "logdir": ("runs/default", "everything of the run; starting again with the same folder resumes it"),
    "robot_id": ("", "name of this robot among all that learn together; empty: the robot's name"),
    "namespace": ("", "ROS namespace of the robot's nodes"),
    "bundle": (
        "",
        "policy to begin with, which only a newer one of its own run replaces; empty: the one that acted last",
    ),
    "policy": ("true", "start the policy node; false: only what surrounds it"),
    "deterministic": ("false", "no action noise"),
    "automatic": ("", "true: the policy acts without being asked; false: it waits for ~/policy; empty: true with sim"),
    "random_actions": (
        "",
        "true: act at random until there is a bundle; false: the policy node fails without one; empty: true with sim",
    ),
    "keys": ("", "this robot's link key file (robot-dreamer keys)"),
    "learner_keys": ("", "key folder of the local learner (robot-dreamer keys)"),
    "insecure": ("false", "allow a link without keys beyond this machine"),
    "seed": ("0", "of everything random"),
}
"""Name -> (default, description) of every launch argument."""

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def read_options(values: Mapping[str, str]) -> Options:
    """Options from the texts of all ARGUMENTS.

    Raises:
      ValueError: names the argument, what was expected and what was found.
    """
    kinds = {entry.name: str(entry.type) for entry in dataclasses.fields(Options)}
    return Options(**{name: _read(name, kinds[name], text.strip()) for name, text in values.items()})


def _read(name: str, kind: str, text: str) -> Any:
    if kind == "bool | None" and not text:
        return None
    if kind.startswith("bool"):
        if text.lower() not in _BOOLEANS:
            raise ValueError(f"{name}: expected true or false, found {text!r}")
        return _BOOLEANS[text.lower()]
    if kind == "Path":
        return Path(text).expanduser()
    if kind.startswith("tuple"):
        return tuple(shlex.split(text))
    if kind in ("int", "float"):
        try:
            return int(text) if kind == "int" else float(text)
        except ValueError:
            expected = "a whole number" if kind == "int" else "a number"
            raise ValueError(f"{name}: expected {expected}, found {text!r}") from None
    return text
