"""`robot-dreamer list`: what can be chosen."""

from __future__ import annotations

import argparse
import json

from robot_dreamer.config import known_presets, load_config
from robot_dreamer.config.describe import fields, preset_line
from robot_dreamer.spec import known_robots, load_spec

_WHAT = ("robots", "presets", "fields")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", nargs="?", choices=_WHAT, help="only these; default: all")
    parser.add_argument("--preset", default="dreamer_v3", help="whose values the fields have")


def run(args: argparse.Namespace) -> int:
    """Print robots, presets and what --set takes, a line each."""
    chosen = (args.what,) if args.what else _WHAT
    config = load_config(args.preset)
    if "robots" in chosen:
        print("robots (or a path to a RobotSpec in YAML, or dmc:<domain>_<task> of dm_control's suite):")
        for name in known_robots():
            print(f"  {name:24} {load_spec(name).description}")
    if "presets" in chosen:
        print("presets (join with colons, later ones win, e.g. dreamer_v3:12m; or a file of your own, NAME.yaml):")
        for name in known_presets():
            print(f"  {name:24} {preset_line(name)}")
    if "fields" in chosen:
        print(f"fields of --set, with their values in {args.preset} (a file of your own may say the same):")
        for field in fields(config):
            value = field.value if isinstance(field.value, str) else json.dumps(field.value)
            print(f"  {f'{field.path}={value}':44} {field.text}")
    return 0
