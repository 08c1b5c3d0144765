"""`robot-dreamer watch`: the live panel of any run whose log directory this machine can read."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from robot_dreamer.report.display import REFRESH, Display
from robot_dreamer.run_status import read_status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("logdir", type=Path, help="log directory of the run; it need not have begun")


def run(args: argparse.Namespace) -> int:
    """Show the panel until the run is over (0) or Ctrl-C; changes nothing of the run."""
    logdir = args.logdir
    if not logdir.is_dir():
        raise ValueError(f"{logdir}: expected the log directory of a run, found no such folder")
    with Display(logdir, began=0.0):
        while (status := read_status(logdir)) is None or not status.over:
            time.sleep(REFRESH)
    return 0
