"""`robot-dreamer relearn`: another task from what a robot has lived through already, without new robot time."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import msgspec
import torch

from robot_dreamer.commands.offline import learn_offline, require_end
from robot_dreamer.commands.options import add_training_arguments, chosen_config
from robot_dreamer.commands.records import log_directory
from robot_dreamer.commands.team import require_alone
from robot_dreamer.config import Config
from robot_dreamer.data.errors import DataError
from robot_dreamer.data.relabel import Coverage, covered, relabelled, with_task
from robot_dreamer.data.source import STORE_FILE, copy_marks, open_store, rows_of, store_rows
from robot_dreamer.data.survey import Survey
from robot_dreamer.durable import replace_file
from robot_dreamer.learner.checkpoint import CheckpointError, has_checkpoint, load_checkpoint
from robot_dreamer.learner.device import resolve_device
from robot_dreamer.learner.memory import keep_freed_memory
from robot_dreamer.learner.run import Budget
from robot_dreamer.learner.trainer import Trainer
from robot_dreamer.learner.transfer import start_from, task_modules
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.report.console import plain_console
from robot_dreamer.settings.learner import LearnerSettings
from robot_dreamer.settings.setting import add_options
from robot_dreamer.spec import RobotSpec, load_spec

ROBOT_FILE = "robot.yaml"  # in the log directory: the robot with its new task
_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", type=Path, metavar="run", help="log directory of the run whose experience is used")
    parser.add_argument("--reward", required=True, help="the new task's reward, an expression (docs/rewards.md)")
    parser.add_argument("--terminal", help="and when it has ended for good; default: as it was")
    parser.add_argument(
        "--from-scratch", action="store_true", help="begin with a fresh world model instead of that of the run"
    )
    add_options(parser, LearnerSettings, ["epochs"])
    add_training_arguments(parser, preset=None, without=("steps", "init_from", "freeze", "demonstrations"))


def run(args: argparse.Namespace) -> int:
    """Relabel, train in imagination, write a bundle. Returns 0, or 130 when a signal ended it."""
    require_alone("relearn")
    budget = Budget(0, args.minutes * 60, args.epochs)
    require_end(budget)
    config = _config(args)
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    logdir = log_directory(args)
    if logdir.resolve() == args.source.resolve():
        raise ValueError(f"--logdir {args.logdir}: expected another folder than that of the run, whose task stays")
    spec = _relabel(args, logdir)

    def begin(trainer: Trainer) -> None:
        if trainer.resume():
            _log.info("resumed at %d updates; how it began stays", trainer.updates)
        elif args.from_scratch or not has_checkpoint(args.source):
            _log.info("beginning with a fresh world model")
        else:
            _begin_from(args.source, trainer)

    status = learn_offline(spec, config, logdir, budget, begin)
    plain_console().print(f"the robot with its new task: {logdir / ROBOT_FILE}{_beside(spec)}", soft_wrap=True)
    return status


def _begin_from(source: Path, trainer: Trainer) -> None:
    """What sees, remembers and predicts, from the run; what knows the task is drawn anew."""
    try:
        start_from(trainer, source, fresh=task_modules(trainer.agent))
    except CheckpointError as error:
        raise ValueError(f"{error}\nor begin with a fresh world model: --from-scratch") from error


def _beside(spec: RobotSpec) -> str:
    """What is to be done about a model that lies beside the robot's own file."""
    kind, _, path = str(spec.simulation.get("model", "")).partition(":")
    if kind not in ("mjcf", "urdf") or Path(path).is_absolute():
        return ""
    return f"; its model {path} is found from the robot's own file: lay this one beside it to simulate"


def _config(args: argparse.Namespace) -> Config:
    """That of the run, unless a preset is given."""
    if args.preset is not None:
        return chosen_config(args)
    if not has_checkpoint(args.source):
        raise ValueError(f"{args.source} has no checkpoint to take the settings from: give --preset, as for learn")
    if args.set:
        raise ValueError("--set goes with --preset; without one the settings are those of the run")
    _, meta = load_checkpoint(args.source)
    config = meta.configuration()
    shown = replace(config.demonstrations, imitation=0.0)  # what a person did there was for the other task
    config = replace(config, demonstrations=shown, freeze=())  # what was frozen there would never learn the task here
    if config.objective == "world_models" and not args.from_scratch:
        raise ValueError("the memory of World Models predicts the reward itself: relearn it with --from-scratch")
    device = _device(config.run.device)
    graph = config.run.cuda_graph and resolve_device(device).type == "cuda"  # which no option could change either
    return config.with_run(seed=args.seed, device=device, cuda_graph=graph)


def _device(name: str) -> str:
    """The run's, where this machine has it: what is learned does not depend on it."""
    try:
        resolve_device(name)
    except ValueError:
        _log.warning("the run was made with device=%s, which is not there: relearning with device=auto", name)
        return "auto"
    return name


def _relabel(args: argparse.Namespace, logdir: Path) -> RobotSpec:
    """The rows of the run with the new reward, into a store in `logdir`; those that are there stay."""
    old = open_store(args.source)
    try:
        spec = with_task(old.spec, args.reward, args.terminal)
        anew = args.terminal is not None
        _tell(covered(rows_of(old), spec, anew), spec)  # refused before anything is written
        _require_ours(logdir / ROBOT_FILE, spec)
        new = ExperienceStore(logdir / STORE_FILE, spec)
        try:
            # Of discarded episodes too: left out, they would give the rows behind them other numbers than last time.
            rows = relabelled(rows_of(old, discarded=True), spec, Coverage(), anew)
            result = store_rows(rows, new, Survey(spec))
            copy_marks(old.marks(), new)
        finally:
            new.close()
    finally:
        old.close()
    if result.rejected:
        raise DataError(f"rows do not fit the new task: {dict(result.rejected)}")
    replace_file(logdir / ROBOT_FILE, msgspec.yaml.encode(spec))
    return spec


def _require_ours(file: Path, spec: RobotSpec) -> None:
    """Raise ValueError for a robot's file in the log directory that is not of this task, or none at all."""
    if file.exists() and load_spec(file).hash != spec.hash:
        raise ValueError(f"{file} is there and is another robot's, or of another task: choose another --logdir")


def _tell(coverage: Coverage, spec: RobotSpec) -> None:
    expression, console = spec.expressions["reward"], plain_console()
    warning = coverage.warning(expression.low, expression.high)
    console.print(f"the rows with the new reward: {coverage.summary()}", soft_wrap=True)
    if warning:
        console.print(f"warning: {warning}", soft_wrap=True)
