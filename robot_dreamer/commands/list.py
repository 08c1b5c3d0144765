"""`robot-dreamer list`: what can be chosen."""

from __future__ import annotations

import argparse

from robot_dreamer.config import known_presets
from robot_dreamer.spec import known_robots, load_spec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> int:
    """Print robots and presets."""
    print("robots (or a path to a RobotSpec in YAML):")
    for name in known_robots():
        print(f"  {name:16} {load_spec(name).description}")
    print("presets (join with colons, later ones win, e.g. dreamer_v3:12m):")
    for name in known_presets():
        print(f"  {name}")
    return 0
