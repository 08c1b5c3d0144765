"""`robot-dreamer learn`: the learner alone; robots connect to it over ZeroMQ."""

from __future__ import annotations

import argparse
import logging
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch

from export.exporter import BundleExporter
from robot_dreamer.bundle_names import BUNDLES
from robot_dreamer.commands.beginning import resume_or_begin
from robot_dreamer.commands.offline import learn_offline
from robot_dreamer.commands.options import chosen_config, require_for_robots
from robot_dreamer.commands.records import Reporter, log_directory, record_command, record_run
from robot_dreamer.commands.team import follow_leader, joined_team, require_alone
from robot_dreamer.config import Config
from robot_dreamer.data.source import STORE_FILE
from robot_dreamer.endings import ended_by
from robot_dreamer.learner.memory import OutOfMemory, keep_freed_memory
from robot_dreamer.learner.proven import Proven
from robot_dreamer.learner.room import is_full
from robot_dreamer.learner.run import Budget, Run
from robot_dreamer.learner.team import Team
from robot_dreamer.learner.trainer import Trainer, TrainingError
from robot_dreamer.link.errors import LinkError
from robot_dreamer.link.server import LinkServer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.report.console import plain_console
from robot_dreamer.report.display import Display
from robot_dreamer.settings.learner import LearnerSettings
from robot_dreamer.settings.setting import add_options
from robot_dreamer.spec import RobotSpec, load_spec

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_options(parser, LearnerSettings)


def run(args: argparse.Namespace) -> int:
    """Train until the budget is spent or a signal comes; both are 0, and running again resumes."""
    if args.offline:
        require_alone("learn --offline")
    spec, config = load_spec(args.robot), chosen_config(args)
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    if args.offline:
        return _offline(args, spec, config)
    require_for_robots(args.set)
    if args.epochs:
        raise ValueError(f"--epochs {args.epochs:g}: only with --offline; experience that comes is a matter of --steps")
    with joined_team(config) as (config, team):
        if team and not team.leads:
            return follow_leader(spec, config, team)
        return _lead(args, spec, config, team)


def _offline(args: argparse.Namespace, spec: RobotSpec, config: Config) -> int:
    for name in ("bind", "keys", "insecure", "steps"):
        if getattr(args, name) != getattr(LearnerSettings, name):
            raise ValueError(f"--{name}: not with --offline, where no robot connects and no step is made")
    logdir = log_directory(args)
    if not (logdir / STORE_FILE).exists() and not args.demonstrations:
        advice = "`robot-dreamer data import BAG --store LOGDIR` makes one"
        raise ValueError(f"--offline: there is no store in {logdir} ({STORE_FILE}); {advice}")
    begin = partial(resume_or_begin, init_from=args.init_from, demonstrations=args.demonstrations)
    return learn_offline(spec, config, logdir, Budget(0, args.minutes * 60, args.epochs), begin)


def _lead(args: argparse.Namespace, spec: RobotSpec, config: Config, team: Team | None) -> int:
    logdir = log_directory(args)
    store = ExperienceStore(logdir / STORE_FILE, spec)
    server = LinkServer(store, spec, args.bind, keys=Path(args.keys) if args.keys else None, insecure=args.insecure)
    server.start()  # before the long set-up: robots connect and send meanwhile
    _log.info("listening on %s for robots of %s, spec %s", server.address, spec.name, spec.hash[:12])
    training: Run | None = None
    try:
        trainer = Trainer(spec, config, store, logdir, team)
        trainer.episodes.proven = Proven(logdir, logdir / BUNDLES)
        resume_or_begin(trainer, args.init_from, args.demonstrations)
        exporter = BundleExporter(trainer.policy_step(), spec, config, store.id, config.run.bundle_weights)

        def publish(path: Path, version: int, training_step: int) -> None:
            exporter.export(path, version, training_step)
            server.publish(path, version, training_step)

        def robots() -> list[dict[str, Any]]:
            server.check()
            return [msgspec.to_builtins(robot) for robot in server.status()]

        def link() -> dict[str, Any]:
            return {
                "refusals": server.refusals,
                "bad_messages": dict(server.bad_messages),
                "troubles": server.troubles(),
            }

        budget = Budget(args.steps, args.minutes * 60)
        record_command(logdir)
        record_run(logdir, spec, config)
        page = Reporter(logdir)
        training = Run(trainer, budget, publish, robots, link, report=page.renew_if_due)
        console = plain_console()
        with ended_by(training.stop):
            with Display(logdir, console) if console.is_terminal else nullcontext():  # a supervisor has one itself
                outcome = "finished" if training.loop() else "stopped"
            page.renew()
        _log.info("%s at %d updates, %d environment steps", outcome, trainer.updates, trainer.env_steps)
    except Exception as error:
        if training is None:
            raise  # it could not begin: a wrong option
        # It had begun, so starting again may help, and loses nothing. What we do not expect keeps its traceback.
        told = isinstance(error, LinkError | TrainingError | OutOfMemory) or is_full(error)
        _log.error("training ended: %s", error, exc_info=not told)
        return 1
    finally:
        try:
            server.stop()
        except LinkError as error:  # it ended before: what the training came to is the status
            _log.error("%s", error)
        finally:
            store.close()
    return 0  # also when a signal came: that is how a learner without a budget ends
