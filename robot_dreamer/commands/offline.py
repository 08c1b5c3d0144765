"""Learning from what a store holds: no robot, no link, no train ratio."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from export.exporter import BundleExporter
from robot_dreamer.commands.options import STOPPED
from robot_dreamer.commands.records import Reporter, record_command, record_run
from robot_dreamer.config import Config
from robot_dreamer.data.source import STORE_FILE
from robot_dreamer.endings import ended_by
from robot_dreamer.learner.run import Budget, Run
from robot_dreamer.learner.trainer import Trainer, TrainingError
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.report.console import plain_console
from robot_dreamer.report.display import Display
from robot_dreamer.spec import RobotSpec

_log = logging.getLogger(__name__)


def learn_offline(
    spec: RobotSpec, config: Config, logdir: Path, budget: Budget, begin: Callable[[Trainer], object]
) -> int:
    """Train on the store in a log directory until the budget is spent; running again goes on.

    Args:
      begin: resumes, or gives the parameters to begin with.

    Returns 0, or 130 when a signal ended it.

    Raises:
      ValueError: no budget; TrainingError: the store holds no window to learn from.
    """
    require_end(budget)
    # nobody waits for bundles
    config = config.with_run(publish_every=max(config.run.publish_every, config.run.checkpoint_every))
    store = ExperienceStore(logdir / STORE_FILE, spec)
    try:
        trainer = Trainer(spec, config, store, logdir, offline=True)
        begin(trainer)
        while trainer.ingest():
            pass
        trainer.ingest_rest()
        if budget.spent(trainer):
            text = "%s: %d updates were made before, which is the whole budget: nothing is left to be done"
            _log.info(text, logdir, trainer.updates)  # but what a killed one had no time for
        if trainer.env_steps > trainer.replay.capacity:
            text = "the replay holds the last %d of %d rows: more with --set replay_capacity=%d"
            _log.warning(text, trainer.replay.capacity, trainer.env_steps, trainer.env_steps)
        if not trainer.replay.windows:
            raise TrainingError(
                f"{store.path} holds {trainer.env_steps} rows and no {trainer.replay.length} in a row without a gap: "
                "there is nothing to learn from"
            )
        exporter = BundleExporter(trainer.policy_step(), spec, config, store.id, config.run.bundle_weights)
        record_command(logdir)
        record_run(logdir, spec, config)
        page = Reporter(logdir)
        training = Run(trainer, budget, exporter.export, report=page.renew_if_due)
        with ended_by(training.stop):
            with Display(logdir):
                finished = training.loop()
            page.renew()
        outcome = "finished" if finished else "stopped; run the same command again to go on"
        plain_console().print(f"{outcome}: {logdir}, {training.result}", soft_wrap=True)
    finally:
        store.close()
    return 0 if finished else STOPPED


def require_end(budget: Budget) -> None:
    """Raise ValueError for a budget that would never be spent."""
    if not (budget.seconds or budget.epochs):
        raise ValueError("learning offline never ends by itself: give --minutes or --epochs")
