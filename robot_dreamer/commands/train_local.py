"""Training in one process: environment, actor and learner take turns."""

from __future__ import annotations

import argparse
import logging
from contextlib import closing
from pathlib import Path

import torch

from export.exporter import BundleExporter
from robot_dreamer.commands.beginning import resume_or_begin
from robot_dreamer.commands.options import STOPPED, chosen_config
from robot_dreamer.commands.records import Reporter, log_directory, record_command, record_run
from robot_dreamer.commands.team import follow_leader, joined_team
from robot_dreamer.config import Config
from robot_dreamer.data.source import STORE_FILE, open_store
from robot_dreamer.endings import ended_by
from robot_dreamer.environment import Environment
from robot_dreamer.learner.local import LivePolicy, LocalActor, RandomFirst
from robot_dreamer.learner.memory import keep_freed_memory
from robot_dreamer.learner.progress import ScoreLog
from robot_dreamer.learner.run import Budget, Run
from robot_dreamer.learner.team import Team
from robot_dreamer.learner.trainer import Trainer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.report.display import Display
from robot_dreamer.seeds import seed_of_start
from sim.environments import make_environment

RECORDS = "environment"  # in the log directory: what the environment notes of the run by itself
_log = logging.getLogger(__name__)


def train_local(args: argparse.Namespace) -> int:
    """See `robot-dreamer train --env`."""
    config = chosen_config(args, args.env)
    _log.info("configuration: %s", config.name)
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    logdir = args.logdir
    acting_seed = seed_of_start(args.seed, _rows_before(logdir))
    environment = make_environment(args.env, acting_seed, config.action_repeat, config.pixels, logdir / RECORDS)
    try:
        with joined_team(config) as (config, team):
            if team and not team.leads:
                return follow_leader(environment.spec, config, team)
            return _lead(args, config, environment, acting_seed, team)
    finally:
        environment.close()


def _rows_before(logdir: Path) -> int:
    """Rows that a run has lived, also behind its last checkpoint: a resumed one repeats neither episodes nor noise."""
    if not (logdir / STORE_FILE).exists():
        return 0
    with closing(open_store(logdir)) as store:
        return store.count()


def _lead(
    args: argparse.Namespace, config: Config, environment: Environment, acting_seed: int, team: Team | None
) -> int:
    spec = environment.spec
    logdir = log_directory(args)
    store = ExperienceStore(logdir / STORE_FILE, spec)
    try:
        trainer = Trainer(spec, config, store, logdir, team)
        trainer.episodes.scores = ScoreLog(
            logdir / "scores.csv", "robot_dreamer", spec.name, config.run.seed, config.action_repeat
        )
        if resume_or_begin(trainer, args.init_from, args.demonstrations):
            _log.info("a new episode begins, with another seed of environment and noise")
        record_command(logdir)  # not before: a run of another preset is refused, and stays as it is told
        record_run(logdir, spec, config, args.env)
        policy = LivePolicy(trainer.agent.policy_step(), spec, acting_seed, lambda: trainer.updates)

        def begins() -> bool:
            """As a robot does before its first bundle; what was given or has learned from others' rows acts at once."""
            return store.count() < config.prefill and not (trainer.given or trainer.updates)

        first = RandomFirst(policy, spec, acting_seed, begins)
        actor = LocalActor(environment, first, store)
        exporter = BundleExporter(trainer.policy_step(), spec, config, store.id, config.run.bundle_weights)
        budget = Budget(-(-args.steps // config.action_repeat), args.minutes * 60)  # it counts rows
        page = Reporter(logdir)
        training = Run(trainer, budget, exporter.export, step_environment=actor.step, report=page.renew_if_due)
        with ended_by(training.stop):
            with Display(logdir):
                try:
                    finished = training.loop()
                finally:
                    actor.flush()
            page.renew()
        print(f"{'finished' if finished else 'stopped'}: {logdir}, {training.result}")
    finally:
        store.close()
    return 0 if finished else STOPPED
