"""`robot-dreamer report`: the page about a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from robot_dreamer.report.page import write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("logdir", type=Path, help="log directory of a run, finished, going on, or cut off")


def run(args: argparse.Namespace) -> int:
    """Write report.html there; 0."""
    print(write_report(args.logdir.expanduser()))
    return 0
