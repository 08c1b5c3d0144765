"""The learner's view of the link as data: for displays, and through a small file for `robot-dreamer link-status`.

The server rewrites the file, beside its store, with each heartbeat. Its age is counted on the monotonic clock of the
machine, so a jump of the wall clock cannot make a dead learner look alive.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import msgspec

from robot_dreamer.link.errors import LinkError

STATUS_FILE = "link-status.json"
STALE = 5.0  # seconds without a new file: the learner is not running


class RobotStatus(msgspec.Struct, frozen=True):
    """One robot as the learner sees it; msgspec.to_builtins gives JSON types.

    Attributes:
      connected: it has a live connection.
      last_seen: seconds since its last message.
      received: rows stored since the server started; duplicates, rejected, missing: likewise, see AddResult.
      acknowledged: rows settled: stored or rejected.
      round_trip: seconds, as it last measured.
      spooled: rows on its disk, dropped: rows that it lost, by kind; both as it last said.
      fetched_version: newest bundle it has whole; bundle_version: the one that acts, from its figures; -1 for none.
      figures: what it reported.
      refused: why its newest connection was refused; empty after a welcome.
    """

    robot: str
    boot: str
    connected: bool
    last_seen: float
    received: int
    duplicates: int
    rejected: dict[str, int]
    missing: int
    acknowledged: int
    spooled: int
    round_trip: float | None
    dropped: dict[str, int]
    bad_messages: dict[str, int]
    fetched_version: int
    bundle_version: int
    figures: dict[str, Any]
    refused: str


class LinkStatus(msgspec.Struct, frozen=True):
    """All robots and the server itself.

    Attributes:
      process: of the learner.
      written: monotonic seconds.
      rows: in the store.
      bad_messages: by kind, of all peers; refusals: hellos and connections, by reason.
    """

    process: int
    address: str
    written: float
    rows: int
    bad_messages: dict[str, int]
    refusals: dict[str, int]
    last_error: str
    robots: list[RobotStatus]


def write_status(directory: Path, status: LinkStatus) -> None:
    """Replace the file in one step."""
    partial = directory / f"{STATUS_FILE}.part"
    partial.write_bytes(msgspec.json.encode(status))
    partial.replace(directory / STATUS_FILE)


def read_status(directory: Path) -> LinkStatus:
    """Raises LinkError if there is none, or a broken one."""
    path = directory / STATUS_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=LinkStatus)
    except OSError as error:
        raise LinkError(
            f"no link status at {path}: {error.strerror}; is this the directory of a learner's store?"
        ) from error
    except msgspec.MsgspecError as error:
        raise LinkError(f"{path} is no link status: {error}") from error


def format_status(status: LinkStatus) -> str:
    """The status as lines of text."""
    age = time.monotonic() - status.written
    alive = "running" if 0 <= age < STALE else "NOT RUNNING (status is old)"
    lines = [f"learner {status.address}, process {status.process}: {alive}; {status.rows} rows stored"]
    for robot in status.robots:
        state = "connected" if robot.connected else "gone"
        lines.append(
            f"  {robot.robot}: {state}, seen {robot.last_seen:.1f} s ago, "
            f"round trip {_milliseconds(robot.round_trip)}, spooled {robot.spooled}, "
            f"received {robot.received}, acknowledged {robot.acknowledged}, duplicates {robot.duplicates}, "
            f"missing {robot.missing}, rejected {_counts(robot.rejected)}, "
            f"dropped there {_counts(robot.dropped)}, bad messages {_counts(robot.bad_messages)}, "
            f"bundle {robot.bundle_version} acts, {robot.fetched_version} fetched"
        )
        if robot.refused:
            lines.append(f"    refused: {robot.refused}")
    lines.append(f"  bad messages {_counts(status.bad_messages)}; refusals {_counts(status.refusals)}")
    if status.last_error:
        lines.append(f"  last trouble: {status.last_error}")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `robot-dreamer link-status`."""
    parser.add_argument("directory", type=Path, help="where the learner keeps its experience store")
    parser.add_argument("--json", action="store_true", help="print the data instead of text")


def run(args: argparse.Namespace) -> int:
    """Run `robot-dreamer link-status`; returns the exit status. Raises LinkError."""
    status = read_status(args.directory)
    print(msgspec.json.encode(status).decode() if args.json else format_status(status))
    return 0


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} {number}" for kind, number in sorted(counts.items())) or "none"


def _milliseconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1e3:.1f} ms"
