"""What a training command writes down of itself, and the page about the run that it keeps fresh."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
import time
from pathlib import Path

from robot_dreamer.config import Config
from robot_dreamer.learner.progress import RUN_FILE, drop_torn_line, write_json_atomically
from robot_dreamer.report.run_files import COMMANDS_FILE
from robot_dreamer.spec import RobotSpec

COMMAND = "ROBOT_DREAMER_COMMAND"  # environment variable: what a person said, for a program that is started for it
SHARE = 0.02  # of the time that a run may spend on its page while it trains
_log = logging.getLogger(__name__)


def log_directory(args: argparse.Namespace) -> Path:
    """The folder of `--logdir`, made if it is not there. Raises ValueError that names the option if it cannot be."""
    logdir: Path = args.logdir
    try:
        logdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--logdir {logdir}: expected a folder, or a place for one: {error.strerror}") from error
    return logdir


def command_line() -> str:
    """What a person said that made this process run."""
    return os.environ.get(COMMAND) or shlex.join(["robot-dreamer", *sys.argv[1:]])


def record_command(logdir: Path) -> None:
    """Append it to commands.jsonl, so that the run can be made again.

    Not before the run has begun: a command that it has refused is none of its own.
    """
    path = logdir / COMMANDS_FILE
    drop_torn_line(path)
    with path.open("a") as file:
        file.write(json.dumps({"time": time.time(), "command": command_line()}) + "\n")


def record_run(logdir: Path, spec: RobotSpec, config: Config, environment: str = "") -> None:
    """Write run.json: robot, configuration, code and machine; environment: of a run in the learner's own process."""
    from robot_dreamer.learner.provenance import provenance  # with torch, which who only starts programs does without

    where = {"environment": environment} if environment else {}
    content = {**where, "spec": json.loads(spec.to_json()), "config": config.to_dict(), **provenance()}
    write_json_atomically(logdir / RUN_FILE, content)


class Reporter:
    """Renews report.html. A page that cannot be made is a fault of ours, which must not end the training."""

    def __init__(self, logdir: Path) -> None:
        from robot_dreamer.report.page import write_report  # with Jinja, see `record_run`

        self._logdir, self._write = logdir, write_report
        self._due = 0.0  # when it may take time of the training again, monotonic s

    def renew(self) -> None:
        """Now, however long it takes."""
        began = time.monotonic()
        try:
            self._write(self._logdir)
        except Exception:
            _log.exception("the report of %s could not be made; training goes on", self._logdir)
        ended = time.monotonic()
        self._due = ended + (ended - began) / SHARE

    def renew_if_due(self) -> None:
        """Unless it would take more than SHARE of the time: it reads all numbers of the run, be they those of weeks."""
        if time.monotonic() >= self._due:
            self.renew()
