"""`robot-dreamer sweep`: one training command with several seeds, and what they have in common."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from rich.progress import Progress
from rich.table import Table

from robot_dreamer.commands import train
from robot_dreamer.commands.options import chosen_config
from robot_dreamer.commands.records import log_directory
from robot_dreamer.durable import replace_file
from robot_dreamer.endings import ended_by
from robot_dreamer.intervals import bootstrap, middle_of
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.option_types import whole_number
from robot_dreamer.report.charts import number
from robot_dreamer.report.console import plain_console
from robot_dreamer.report.run_files import NoRun, read_run

WINDOW = 10  # last episodes of a run without an evaluation
_OWN = ("--seed", "--logdir")
_BUDGET = ("minutes", "steps", "evaluate")  # may change from one start to the next
COMMAND_FILE, SWEEP_FILE = "command.json", "sweep.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What one seed came to.

    Attributes:
      status: exit status.
      value: mean return of its evaluation, or of its last WINDOW episodes; None if there is neither.
      measured: which of the two.
    """

    seed: int
    logdir: Path
    status: int
    value: float | None
    measured: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--seeds", type=whole_number(1), default=5, help="how many seeds: first, first + 1, …")
    parser.add_argument("--first", type=whole_number(0), default=0, help="the first seed")
    parser.add_argument("--jobs", type=whole_number(1), help="runs at a time, default 1; a split run needs two cores")
    parser.add_argument(
        "--slurm",
        action="append",
        metavar="KEY=VALUE",
        help="a job for each seed on a Slurm cluster (extra slurm): timeout_min=600, slurm_partition=gpu; untried on a "
        "real one",
    )
    parser.add_argument("--logdir", type=Path, default=Path("runs/sweep"), help="a folder for each seed is made in it")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="train …", help="without --seed and --logdir")


def run(args: argparse.Namespace) -> int:
    """Run all seeds, or go on with them. Returns 0, or 1 if one failed."""
    words, found = args.words, _checked(args.words)
    if args.slurm and args.jobs is not None:
        raise ValueError(f"--jobs {args.jobs}: not with --slurm, where the cluster says how many run at a time")
    logdir = log_directory(args)
    _require_same(words, found, logdir)
    seeds = range(args.first, args.first + args.seeds)
    others = _others(logdir / SWEEP_FILE, found, seeds)  # read before hours of training: it may be damaged
    if args.slurm:
        from robot_dreamer.commands.cluster import Cluster

        outcomes = _run_all(words, seeds, logdir, len(seeds), Cluster(args.slurm, logdir / "slurm").start)
    else:
        outcomes = _run_all(words, seeds, logdir, args.jobs or 1, _process)
    every = sorted(others + outcomes, key=lambda outcome: outcome.seed)
    told = {"command": words} | summary(every)
    replace_file(logdir / SWEEP_FILE, (json.dumps(told, indent=2) + "\n").encode())
    console = plain_console()
    console.print(_table(every))
    console.print(_words(told), soft_wrap=True)
    return 1 if any(outcome.status for outcome in outcomes) else 0


def _checked(words: Sequence[str]) -> argparse.Namespace:
    """What the command says, if train would take it, and it is whole but for what each seed gets."""
    if not words or words[0] != "train":
        raise ValueError("expected a training command behind the options, such as: train --env dmc:walker_walk")
    found = _parsed(words)
    for option in _OWN:
        if option.strip("-") in found:
            raise ValueError(f"{option} is set for each seed; give it to sweep, not to train")
    if not (found.minutes or found.steps):
        raise ValueError("a training command without --minutes or --steps never ends: give it one of them")
    train.require_read(found)
    chosen_config(argparse.Namespace(**vars(found), seed=0), found.env)
    return found


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="robot-dreamer sweep … train", allow_abbrev=False)
    train.add_arguments(parser)
    for action in [action for action in parser._actions if set(_OWN) & set(action.option_strings)]:
        action.default = argparse.SUPPRESS
    return parser.parse_args(words[1:])


def _require_same(words: list[str], found: argparse.Namespace, logdir: Path) -> None:
    """Raise ValueError where the folder has the runs of another command: they would be told as those of this one.

    found: what the words say.
    """
    file = logdir / COMMAND_FILE
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        both = (found, _parsed(before))
        now, then = ({k: v for k, v in vars(one).items() if k not in _BUDGET} for one in both)
        if now != then:
            raise ValueError(
                f"{logdir} has the runs of another command: {shlex.join(before)}; choose another --logdir, or change "
                f"no more than {', '.join(f'--{name}' for name in _BUDGET)}"
            )
    replace_file(file, json.dumps(words).encode())


class _Told(msgspec.Struct):
    """What of sweep.json is read again."""

    command: list[str]
    values: dict[int, float | None]
    failed: list[int]


def _others(file: Path, found: argparse.Namespace, seeds: range) -> list[Outcome]:
    """What the file tells of other seeds than these; nothing where it is of another budget, which is another number."""
    if not file.exists():
        return []
    try:
        told = decode_json(file.read_bytes(), _Told)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{file} cannot be read: {error}; move it away, and sweep all its seeds again") from error
    before = {seed: value for seed, value in told.values.items() if seed not in seeds}
    if before and _parsed(told.command) != found:
        text = "seeds %s were trained with another budget and are left out of %s; sweep them too to have them in it"
        _log.warning(text, ", ".join(map(str, before)), file)
        return []
    return [
        Outcome(seed, file.parent / f"seed-{seed}", int(seed in told.failed), value, "an earlier sweep")
        for seed, value in before.items()
    ]


class Running(Protocol):
    """A command that runs, here or elsewhere: what is used of a `subprocess.Popen`."""

    returncode: Any

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def wait(self) -> object: ...


Start = Callable[[list[str], Path], Running]
"""(command, file for its output) -> the command, running."""


def _run_all(words: list[str], seeds: range, logdir: Path, jobs: int, start: Start) -> list[Outcome]:
    waiting, running, outcomes = list(seeds), dict[int, Running](), list[Outcome]()
    bar = Progress(console=plain_console(stderr=True), transient=True)
    with bar, ended_by(signal.default_int_handler):  # each ends the runs too, as an interrupt does
        task = bar.add_task("seeds", total=len(seeds))
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    seed = waiting.pop(0)
                    running[seed] = _start(words, seed, logdir, start)
                for seed, process in list(running.items()):
                    if process.poll() is not None:
                        outcomes.append(_outcome(seed, logdir / f"seed-{seed}", process.returncode))
                        del running[seed]
                        bar.advance(task)
                time.sleep(0.2)
        finally:
            for process in running.values():  # they save, and end
                process.terminate()
            for process in running.values():
                process.wait()
    return sorted(outcomes, key=lambda outcome: outcome.seed)


def _start(words: list[str], seed: int, logdir: Path, start: Start) -> Running:
    """A run whose budget is spent already ends at once by itself."""
    own = logdir / f"seed-{seed}"
    own.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "robot_dreamer.cli", *words, "--seed", str(seed), "--logdir", str(own)]
    _log.info("seed %d: %s", seed, own)
    return start(command, own / "output.log")


def _process(command: list[str], output: Path) -> Running:
    with output.open("ab") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C in the terminal is for the sweep: a second signal would hurry them
        )


def _outcome(seed: int, logdir: Path, status: int) -> Outcome:
    if status:
        return Outcome(seed, logdir, status, None, "nothing")
    try:
        files = read_run(logdir)
    except NoRun:
        return Outcome(seed, logdir, status, None, "no episode")
    if files.evaluation:
        return Outcome(seed, logdir, status, float(files.evaluation["evaluation"]["mean"]), "evaluation")
    last = [episode.total for episode in files.episodes][-WINDOW:]
    value = float(np.mean(last)) if last else None
    return Outcome(seed, logdir, status, value, f"last {len(last)} episodes" if last else "no episode")


def summary(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """All values, their interquartile mean with a 95 % bootstrap interval, mean, least and most; as JSON.

    The interval is that of the interquartile mean over seeds, None for fewer than two.
    """
    values = [outcome.value for outcome in outcomes if outcome.value is not None]
    found: dict[str, object] = {
        "values": {str(outcome.seed): outcome.value for outcome in outcomes},
        "failed": [outcome.seed for outcome in outcomes if outcome.status],
        "interquartile_mean": None,
        "interval": None,
    }
    if values:
        found |= {"interquartile_mean": float(middle_of(np.asarray(values))), "mean": float(np.mean(values))}
        found |= {"least": min(values), "most": max(values)}
    if len(values) > 1:
        found["interval"] = list(bootstrap(values, middle_of))
    return found


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title=f"{len(outcomes)} seeds")
    for column in ("seed", "return", "of", "log directory"):
        table.add_column(column, justify="right" if column in ("seed", "return") else "left", overflow="fold")
    for outcome in outcomes:
        value = "–" if outcome.value is None else number(outcome.value)
        told = f"failed with status {outcome.status}, see output.log" if outcome.status else outcome.measured
        table.add_row(str(outcome.seed), value, told, str(outcome.logdir))
    return table


def _words(told: dict[str, Any]) -> str:
    if told["interquartile_mean"] is None:
        return "no run has come to a return"
    middle, mean, least, most = (number(told[name]) for name in ("interquartile_mean", "mean", "least", "most"))
    between = ", 95 % {} to {}".format(*map(number, told["interval"])) if told["interval"] else ""
    return f"interquartile mean {middle}{between}; mean {mean}, from {least} to {most}"
