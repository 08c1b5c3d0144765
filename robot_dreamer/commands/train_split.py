"""The whole split on this machine: simulated robot, policy node and learner as processes, then an evaluation."""

from __future__ import annotations

import argparse
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
from robot_dreamer.run_status import SAVING, read_status
from robot_dreamer.settings.learner import DEFAULT_PRESET
from robot_dreamer.spec import load_spec


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
            told = environment | {COMMAND: command_line()}
            saving, progress = partial(_saves, logdir), partial(_checkpoints, logdir)
            return Supervisor(partial(processes, options), logdir, told, saving=saving, progress=progress).run()


def _saves(logdir: Path) -> bool:
    """Whether the learner says so."""
    try:
        status = read_status(logdir)
    except ValueError:  # of another version: this one's learner has said nothing yet
        return False
    return status is not None and status.phase == SAVING


def _checkpoints(logdir: Path) -> list[str]:
    """Names: a learner that begins again from the same ones has done nothing that lasts."""
    return [folder.name for folder in numbered(logdir / FOLDER)]


def _phase(logdir: Path) -> str:
    status = read_status(logdir)
    return status.phase if status else "stopped before the learner was up"
