"""Seconds from the command to the first update, and what the updates are worth that a compiler costs or saves.

    python -m benchmarks.first_update [--robot cartpole] [--preset cpu_small] [--seconds 150] [--speed 6]

Five times the command that a user types, `robot-dreamer train --robot …`, through the whole split on this machine, one
after the other: two starts without compilation, then three with it, the first of these with an empty cache of
compiled code, the others with what the one before left there. Of each: seconds from the command until rows reached the
learner, until the first update and until the first bundle was written, and the updates made so many seconds after the
command. The learner says where it is once a second, so all of that may be a second less.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from robot_dreamer.run_status import RunStatus, read_status  # noqa: E402

LOOK = 0.05  # seconds
MARKS = (30, 60, 90, 120, 150)  # seconds after the command
STARTS = {  # whether it compiles
    "eager, first": False,
    "eager, second": False,
    "compiled, nothing in the cache": True,
    "compiled, second": True,
    "compiled, third": True,
}
PATIENCE = 60.0  # seconds beyond those asked for


@dataclass
class FirstUpdate:
    """What was seen of one: seconds from the command, None for what did not come; updates by mark."""

    rows: float | None = None
    update: float | None = None
    bundle: float | None = None
    updates: dict[int, int] = field(default_factory=dict)

    def see(self, status: RunStatus, seconds: float) -> None:
        """Take in what the learner says of itself so long after the command."""
        if self.rows is None and status.env_steps:
            self.rows = seconds
        if self.update is None and status.updates:
            self.update = seconds
        if self.bundle is None and status.bundle_version:
            self.bundle = seconds
        for mark in MARKS:
            if seconds <= mark:
                self.updates[mark] = status.updates

    def line(self, name: str, marks: Sequence[int]) -> str:
        """A row of the table, in Markdown."""
        times = " | ".join(
            "–" if value is None else f"{value:.0f} s" for value in (self.rows, self.update, self.bundle)
        )
        return f"| {name} | {times} | " + " | ".join(f"{self.updates.get(mark, 0):,}" for mark in marks) + " |"


def main() -> None:
    """Make all starts; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robot", default="cartpole")
    parser.add_argument("--preset", default="cpu_small")
    parser.add_argument("--seconds", type=int, default=MARKS[-1], help=f"of each start, {MARKS[0]} to {MARKS[-1]}")
    parser.add_argument("--speed", type=float, default=6.0, help="of the simulated robot, times real time")
    options = parser.parse_args()
    if not MARKS[0] <= options.seconds <= MARKS[-1]:
        parser.error(f"argument --seconds: expected {MARKS[0]} to {MARKS[-1]}, found {options.seconds}")
    marks = [mark for mark in MARKS if mark <= options.seconds]
    print(f"{machine('torch')}; {options.robot}, {options.preset}, {options.speed:g} times real time\n")
    print("| start | rows | first update | first bundle | " + " | ".join(f"updates, {m} s" for m in marks) + " |")
    print("|---" * (4 + len(marks)) + "|")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, compiled) in enumerate(STARTS.items()):
            command = [sys.executable, "-m", "robot_dreamer.cli", "train", "--robot", options.robot]
            command += ["--preset", options.preset, "--set", f"compile={str(compiled).lower()}"]
            command += ["--speed", f"{options.speed:g}", "--minutes", str(options.seconds / 60), "--evaluate", "0"]
            print(begin(command, Path(folder) / str(number), options.seconds).line(name, marks), flush=True)


def begin(command: list[str], logdir: Path, seconds: int) -> FirstUpdate:
    """One start in this log directory, watched to its end; the cache of compiled code is beside the log directory.

    Raises RuntimeError if it fails or does not end, with the last that it said.
    """
    found = FirstUpdate()
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(logdir.parent / "compiled")}
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        program = subprocess.Popen(
            [*command, "--logdir", str(logdir)],
            cwd=ROOT,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            while program.poll() is None and (now := time.monotonic() - began) < seconds + PATIENCE:
                if status := read_status(logdir):
                    found.see(status, now)
                time.sleep(LOOK)
        finally:
            program.terminate()
            program.wait(PATIENCE)
        if program.returncode:
            said.seek(0)
            raise RuntimeError(f"status {program.returncode}: {said.read().decode(errors='replace')[-1000:]}")
    return found


if __name__ == "__main__":
    main()
