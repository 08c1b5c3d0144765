"""`robot-dreamer flown`: what has flown on a robot, and a person's decision that something may fly again."""

from __future__ import annotations

import argparse
from pathlib import Path

from robot_dreamer.bounds import LARGEST
from robot_dreamer.link.database import locked
from robot_dreamer.link.spool import SPOOL_FILE
from robot_dreamer.onboard.logbook import FLOWN_FILE, Logbook
from robot_dreamer.option_types import whole_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("logdir", type=Path, help="folder of the policy node (its parameter logdir)")
    parser.add_argument("--lineage", help="the run whose floor is lowered, as shown")
    parser.add_argument(
        "--floor",
        type=whole_number(-1, LARGEST),
        help="newest version that counts as flown from now on: later ones are taken again; -1: none has",
    )


def run(args: argparse.Namespace) -> int:
    """Show the floors; with both options lower one. Raises LinkError while the policy node runs: it writes them too."""
    folder = args.logdir / "bundles"
    if not (folder / FLOWN_FILE).is_file():
        raise FileNotFoundError(
            f"{folder / FLOWN_FILE} is not there: no bundle of a learner has flown with this logdir"
        )
    if (args.lineage is None) != (args.floor is None):
        raise ValueError("--lineage and --floor go together: whose floor, and how low")
    if args.lineage is not None:
        with locked(args.logdir / SPOOL_FILE):
            Logbook(folder).lower(args.lineage, args.floor)
        print(f"{folder / FLOWN_FILE}: lowered; start the policy node again")
    logbook = Logbook(folder)
    print(f"acts next: {logbook.flown.acting or 'no bundle that is kept'}")
    for lineage, floor in logbook.flown.floors.items():
        print(f"lineage {lineage or 'unknown'!r}: flown up to version {floor}")
    return 0
