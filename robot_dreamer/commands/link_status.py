"""`robot-dreamer link-status`: the robots that a learner knows, from the status file that it writes every second."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from robot_dreamer.report.console import plain_console
from robot_dreamer.report.figures import UNKNOWN, amount, counts, number, words
from robot_dreamer.run_status import STATUS_FILE, read_status

STALE = 5.0  # seconds after which the learner counts as gone
_LABELS, _COLUMN = 24, 18  # characters of the names of lines, and of each robot


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--logdir", type=Path, default=Path("runs/default"), help="log directory of the learner")


def run(args: argparse.Namespace) -> int:
    """Print tables of as many robots as there is room for; returns 1 if the learner is not running."""
    logdir = args.logdir
    status = read_status(logdir)
    if status is None:
        raise FileNotFoundError(f"{logdir / STATUS_FILE} is not there: no learner has run with this --logdir")
    age = time.monotonic() - status.monotonic  # negative: the machine has been started again since
    console = plain_console()
    most = max(1, (console.width - _LABELS) // _COLUMN)
    for first in range(0, max(1, len(status.robots)), most):
        console.print(_table(status.robots[first : first + most]))
    for trouble in _troubles(status.link):
        console.print(trouble, highlight=False, markup=False, soft_wrap=True)
    if not 0 <= age <= STALE:
        since = f"its last word is {age:.0f} s old" if age > 0 else "this machine has been started again since"
        console.print(f"the learner is not running: {since} ({status.phase})")
        return 1
    console.print(f"learner: {status.phase}, {status.env_steps} steps, newest bundle {status.bundle_version}")
    return 0


def _troubles(link: dict[str, Any]) -> Iterator[str]:
    """A line for each kind of what the link as a whole refused and suffered: how often, and the newest in words."""
    found = {**counts(link.get("refusals")), **counts(link.get("bad_messages"))}
    told = link.get("troubles")
    newest = {kind: last for kind, last in told.items() if isinstance(last, dict)} if isinstance(told, dict) else {}
    for kind in dict.fromkeys([*found, *newest]):
        parts = [f"{words(kind)}: {found[kind]}"] if kind in found else [words(kind)]
        if last := newest.get(kind):
            parts.append(f"the last, {amount(last.get('age'), '.0f')} s ago: {words(last.get('text'))}")
        yield "; ".join(parts)


def _table(robots: list[dict[str, Any]]) -> Table:
    """One column per robot."""
    table = Table("", *(Column(words(robot.get("robot")), overflow="fold") for robot in robots))
    for label, show in _LINES.items():
        table.add_row(label, *(show(robot) for robot in robots))
    return table


def _counts(found: Any) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts(found).items()) or "0"


def _round_trip(robot: dict[str, Any]) -> str:
    trip = robot.get("round_trip")
    return "not measured yet" if trip is None else f"{1e3 * found:.1f} ms" if (found := number(trip)) else UNKNOWN


def _bundle(robot: dict[str, Any]) -> str:
    version, age = number(robot.get("bundle_version")), _figures(robot).get("bundle_age_s")
    if version is not None and version < 0:
        return "none yet"
    return amount(version, "") + (f", {amount(age, '.0f')} s old" if age is not None else "")


def _figures(robot: dict[str, Any]) -> dict[str, Any]:
    found = robot.get("figures")
    return found if isinstance(found, dict) else {}


_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "connected": lambda robot: "yes" if robot.get("connected") else "no",
    "state": lambda robot: words(_figures(robot).get("fault") or _figures(robot).get("state", "not said")),
    "last seen": lambda robot: amount(robot.get("last_seen"), ".1f", " s ago"),
    "round trip": _round_trip,
    "received": lambda robot: amount(robot.get("received"), ""),
    "acknowledged": lambda robot: amount(robot.get("acknowledged"), ""),
    "spooled on the robot": lambda robot: amount(robot.get("spooled"), ""),
    "rows missing": lambda robot: amount(robot.get("missing"), ""),
    "duplicates discarded": lambda robot: amount(robot.get("duplicates"), ""),
    "episodes discarded": lambda robot: amount(robot.get("discarded"), ""),
    "rejected": lambda robot: _counts(robot.get("rejected")),
    "dropped by the robot": lambda robot: _counts(robot.get("dropped")),
    "bad messages": lambda robot: _counts(robot.get("bad_messages")),
    "refused": lambda robot: words(robot.get("refused", "")) or "no",
    "bundle on board": _bundle,
}
