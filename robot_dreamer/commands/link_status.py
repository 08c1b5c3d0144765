"""`robot-dreamer link-status`: the robots that a learner knows, from the status file that it writes every second."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from robot_dreamer.run_status import STATUS_FILE, read_status

STALE = 5.0  # seconds after which the learner counts as gone


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--logdir", type=Path, default=Path("runs/default"), help="log directory of the learner")


def run(args: argparse.Namespace) -> int:
    """Print a table; returns 1 if the learner is not running."""
    logdir = args.logdir.expanduser()
    status = read_status(logdir)
    if status is None:
        raise FileNotFoundError(f"{logdir / STATUS_FILE} is not there: no learner has run with this --logdir")
    age = time.monotonic() - status.monotonic  # negative: the machine has been started again since
    console = Console()
    console.print(_table(status.robots))
    for kind, count in {**status.link.get("refusals", {}), **status.link.get("bad_messages", {})}.items():
        console.print(f"{kind}: {count}", highlight=False)
    if status.link.get("last_error"):
        trouble = f"last trouble, {status.link['last_error_age']:.0f} s ago: {status.link['last_error']}"
        console.print(trouble, highlight=False, markup=False, soft_wrap=True)
    if not 0 <= age <= STALE:
        since = f"its last word is {age:.0f} s old" if age > 0 else "this machine has been started again since"
        console.print(f"the learner is not running: {since} ({status.phase})")
        return 1
    console.print(f"learner: {status.phase}, {status.env_steps} steps, newest bundle {status.bundle_version}")
    return 0


def _table(robots: list[dict[str, Any]]) -> Table:
    """One column per robot, so that any width shows it whole."""
    table = Table("", *(robot["robot"] for robot in robots))
    for label, show in _LINES.items():
        table.add_row(label, *(show(robot) for robot in robots))
    return table


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts.items()) or "0"


def _round_trip(robot: dict[str, Any]) -> str:
    return "not measured yet" if robot["round_trip"] is None else f"{1e3 * robot['round_trip']:.1f} ms"


def _bundle(robot: dict[str, Any]) -> str:
    if robot["bundle_version"] < 0:
        return "none yet"
    age = robot["figures"].get("bundle_age_s")
    return f"{robot['bundle_version']}" + (f", {age:.0f} s old" if age is not None else "")


_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "connected": lambda robot: "yes" if robot["connected"] else "no",
    "state": lambda robot: robot["figures"].get("fault") or robot["figures"].get("state", "not said"),
    "last seen": lambda robot: f"{robot['last_seen']:.1f} s ago",
    "round trip": _round_trip,
    "received": lambda robot: str(robot["received"]),
    "acknowledged": lambda robot: str(robot["acknowledged"]),
    "spooled on the robot": lambda robot: str(robot["spooled"]),
    "rows missing": lambda robot: str(robot["missing"]),
    "duplicates discarded": lambda robot: str(robot["duplicates"]),
    "rejected": lambda robot: _counts(robot["rejected"]),
    "dropped by the robot": lambda robot: _counts(robot["dropped"]),
    "bad messages": lambda robot: _counts(robot["bad_messages"]),
    "refused": lambda robot: robot["refused"] or "no",
    "bundle on board": _bundle,
}
