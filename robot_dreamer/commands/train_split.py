"""The whole split on this machine: simulated robot, policy node and learner as processes, then an evaluation."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from robot_dreamer.commands.options import STOPPED, chosen_config
from robot_dreamer.commands.records import COMMAND, command_line, log_directory
from robot_dreamer.commands.startable import require_startable
from robot_dreamer.learner.checkpoint_meta import FOLDER, numbered
from robot_dreamer.processes import Options, processes
from robot_dreamer.processes.own_address import own_address
from robot_dreamer.processes.ros_domain import own_domain
from robot_dreamer.processes.supervisor import Result, Supervisor
from robot_dreamer.report.console import plain_console
from robot_dreamer.report.display import Display
from robot_dreamer.run_status import SAVING, RunStatus, read_status
from robot_dreamer.settings.learner import DEFAULT_PRESET
from robot_dreamer.spec import load_spec

_SAID_EVERY = 1.0  # s, as a learner says something


def train_split(args: argparse.Namespace) -> int:
    """See `robot-dreamer train --robot`."""
    spec = load_spec(args.robot)
    chosen_config(args)  # refuse a wrong preset before anything starts
    logdir = log_directory(args)
    result = _run(args, logdir)
    console = plain_console()
    if result.state == "failed":
        console.print(f"failed: {result.message}", highlight=False, markup=False, soft_wrap=True)
        return 1
    if result.state != "finished" or _phase(logdir) != "finished":
        console.print(f"stopped; everything is in {logdir}; run the same command again to go on", soft_wrap=True)
        return STOPPED
    from robot_dreamer.commands.outcome import report_outcome  # with torch: a run should not wait for it to begin

    report_outcome(spec, logdir, args.evaluate, console)
    return 0


def _run(args: argparse.Namespace, logdir: Path) -> Result:
    with own_domain() as environment, nullcontext(args.bind) if args.bind else own_address() as bind:
        options = Options(
            robot=args.robot,
            logdir=logdir,
            clock=args.clock,
            robots=args.robots,
            bind=bind,
            preset=args.preset or DEFAULT_PRESET,
            overrides=tuple(args.set),
            minutes=args.minutes,
            steps=args.steps,
            seed=args.seed,
            speed=args.speed,
            threads=args.threads,
            init_from=args.init_from,
            freeze=args.freeze,
            demonstrations=args.demonstrations,
        )
        require_startable(options)
        with Display(logdir):
            learner, told = Learner(logdir), environment | {COMMAND: command_line()}
            return Supervisor(
                partial(processes, options),
                logdir,
                told,
                saving=learner.saves,
                resting=partial(learner.rests, args.minutes, args.rest),
                progress=learner.checkpoints,
            ).run()


class Learner:
    """What the learner says and has done; asked many times a second, its status is read as often as it changes.

    Args:
      clock: monotonic seconds.
    """

    def __init__(self, logdir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._logdir, self._clock = logdir, clock
        self._status: RunStatus | None = None
        self._read_at = -math.inf

    def saves(self) -> bool:
        """Whether it says so."""
        status = self._said()
        return status is not None and status.phase == SAVING

    def rests(self, minutes: float, rest: float) -> bool:
        """Whether so little of the minutes is left that the robots' part of them is over."""
        status = self._said() if rest else None
        return status is not None and status.elapsed_s >= 60 * (minutes - rest)

    def checkpoints(self) -> list[str]:
        """Names: a learner that begins again from the same ones has done nothing that lasts."""
        return [folder.name for folder in numbered(self._logdir / FOLDER)]

    def _said(self) -> RunStatus | None:
        now = self._clock()
        if now - self._read_at >= _SAID_EVERY:
            self._read_at = now
            try:
                self._status = read_status(self._logdir)
            except ValueError:  # of another version: this one's learner has said nothing yet
                self._status = None
        return self._status


def _phase(logdir: Path) -> str:
    status = read_status(logdir)
    return status.phase if status else "stopped before the learner was up"
