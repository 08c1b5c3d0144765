"""`robot-dreamer link-status`: the robots that a learner knows, from the status file that it writes every second."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

STALE = 5.0  # seconds after which the learner counts as gone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--logdir", type=Path, default=Path("runs/default"), help="log directory of the learner")


def run(args: argparse.Namespace) -> int:
    """Print a table; returns 1 if the learner is not running."""
    path = args.logdir.expanduser() / "status.json"
    try:
        status = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is not there: no learner has run with this --logdir") from None
    age = time.time() - status["time"]
    console = Console()
    console.print(_table(status["robots"]))
    if age > STALE:
        console.print(f"the learner is not running: its last word is {age:.0f} s old ({status['phase']})")
        return 1
    console.print(f"learner: {status['phase']}, {status['env_steps']} steps, newest bundle {status['bundle_version']}")
    return 0


def _table(robots: list[dict[str, Any]]) -> Table:
    table = Table(title="robots")
    columns = (
        "robot",
        "connected",
        "last seen",
        "received",
        "acknowledged",
        "spooled",
        "duplicates",
        "rejected",
        "bundle",
        "age",
    )
    for column in columns:
        table.add_column(column, justify="left" if column == "robot" else "right")
    for robot in robots:
        rejected = ", ".join(f"{kind} {count}" for kind, count in robot["rejected"].items())
        table.add_row(
            robot["robot"],
            "yes" if robot["connected"] else "no",
            f"{robot['last_seen']:.1f} s",
            str(robot["received"]),
            str(robot["acknowledged"]),
            str(robot["spooled"]),
            str(robot["duplicates"]),
            rejected or "0",
            str(robot["bundle_version"]),
            f"{robot['figures'].get('bundle_age_s', 0):.0f} s",
        )
    return table
