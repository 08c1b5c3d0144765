"""One training run: drive the trainer until a budget is spent, show progress, publish bundles, save checkpoints."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from robot_dreamer.bundle_names import BUNDLES, bundle_path, newest_version, written_bundles
from robot_dreamer.learner.gallery import Gallery
from robot_dreamer.learner.portrait import summary
from robot_dreamer.learner.progress import MetricsLog, Rate, write_json_atomically
from robot_dreamer.learner.room import Room, is_full
from robot_dreamer.learner.trainer import Trainer
from robot_dreamer.onboard.bundle import BundleError, read_bundle, remove_unfinished
from robot_dreamer.record import Arrays
from robot_dreamer.report.strips import cameras, strip_pixels
from robot_dreamer.run_status import SAVING, STATUS_FILE, RunStatus

_log = logging.getLogger(__name__)
STATUS_EVERY = 1.0  # seconds
METRICS_EVERY = 10.0
READ = 1024  # rows of experience between two updates, at most
PAUSE = 0.01  # between two looks for experience while no update is due
RARER = 1.05  # times as many updates lie behind a picture for TensorBoard as behind the one before


@dataclass(frozen=True)
class Budget:
    """When a run is complete; 0 means no limit.

    Attributes:
      env_steps: rows of experience, demonstrations apart; the updates that they pay for are made before the run ends.
      seconds: of training, whatever is due then.
      epochs: of a run without a train ratio: how often each row of the replay was trained, on average.
    """

    env_steps: int = 0
    seconds: float = 0.0
    epochs: float = 0.0

    def rows_left(self, trainer: Trainer) -> int:
        """Rows that may still be read, READ at most."""
        lived = trainer.env_steps - trainer.demonstrations
        return min(READ, self.env_steps - lived) if self.env_steps else READ

    def spent(self, trainer: Trainer) -> bool:
        """Whether nothing is left to be done."""
        if 0 < self.seconds <= trainer.training_seconds:
            return True
        if self.epochs:
            return trainer.rows_replayed >= self.epochs * len(trainer.replay) > 0
        return self.rows_left(trainer) <= 0 and not trainer.due


class Run:
    """The loop around a trainer.

    Args:
      trainer: resumed or fresh.
      budget: when to finish.
      publish: called with (path, version, training_step): writes a bundle there and announces it.
      robots: figures of the connected robots for status.json.
      link: what the link as a whole refused and suffered, likewise.
      step_environment: called before each look for experience; for environments in this process.
      report: called after each checkpoint but the last: renews what a person looks at.
    """

    def __init__(
        self,
        trainer: Trainer,
        budget: Budget,
        publish: Callable[[Path, int, int], None],
        robots: Callable[[], list[dict[str, Any]]] = lambda: [],
        link: Callable[[], dict[str, Any]] = dict,
        step_environment: Callable[[], None] | None = None,
        report: Callable[[], None] = lambda: None,
    ) -> None:
        self.trainer, self.budget = trainer, budget
        self._publish, self._robots, self._link, self._step_environment = publish, robots, link, step_environment
        self._report = report
        self._gallery = Gallery(trainer, trainer.config.run.portrait_every)
        self._bundles = trainer.logdir / BUNDLES
        self._bundles.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self._bundles)
        # versions rise over all starts, also when files were deleted: robots refuse older ones
        self.version = max(trainer.store.published()[0], newest_version(trainer.logdir))
        self._published_updates = -1
        self._metrics = MetricsLog(trainer.logdir, by_updates=trainer.offline)
        self._update_rate, self._step_rate = Rate(), Rate()
        self._stop = threading.Event()
        self._room = Room(trainer.logdir, self._wait, self._stop.is_set)
        self._started = time.monotonic()
        self._before = trainer.training_seconds
        self._phase = ""
        self._losses: dict[str, float | None] = {}
        self._picture_at = 0.0  # updates

    def stop(self, *_: object) -> None:
        """Ask the loop to end after the update that it is in; may be the handler of a signal."""
        self._stop.set()

    @property
    def bundle(self) -> Path:
        """The newest bundle; there is none at version 0."""
        return bundle_path(self._bundles, self.version)

    @property
    def result(self) -> str:
        """The newest bundle, in words."""
        return f"newest bundle {self.bundle}" if self.version else "no bundle yet: nothing was learned"

    def loop(self) -> bool:
        """Train until the budget is spent (True) or `stop` is called (False); saves and publishes at the end."""
        trainer = self.trainer
        trainer.join_team()
        due = {
            "status": 0.0,
            "metrics": 0.0,
            "publish": time.monotonic() + trainer.config.run.publish_every if trainer.offline else 0.0,
            "save": time.monotonic() + trainer.config.run.checkpoint_every,
        }
        try:
            while not self._stop.is_set() and not self.budget.spent(trainer):
                self._advance()
                now = time.monotonic()
                trainer.training_seconds = self._before + now - self._started - self._room.waited
                if now >= due["status"]:
                    due["status"] = now + STATUS_EVERY
                    self.write_status(self._phase)
                    self._room.wait(self.bundle)
                if now >= due["metrics"] and trainer.last:
                    due["metrics"] = now + METRICS_EVERY
                    self._write_metrics()
                if now >= due["publish"] and self._unpublished:
                    self.write_status(self._phase)  # the first bundle takes seconds, in which nothing else is heard
                    self._room.write(self.publish)
                    due["publish"] = time.monotonic() + trainer.config.run.publish_every
                if self._gallery.due:
                    self._room.write(lambda: self._log_portrait(self._gallery.draw()))
                if now >= due["save"]:
                    self._room.write(trainer.save)
                    self._report()
                    due["save"] = time.monotonic() + trainer.config.run.checkpoint_every
            finished = not self._stop.is_set()
            self.write_status(SAVING)
            self._room.write(trainer.save)  # first: whoever waits for the end of a large model may kill it
            never = finished and self._published_updates < 0  # a finished run has a bundle, whatever it learned
            if (self._unpublished or never) and trainer.updates != self._written_updates():
                self._room.write(self.publish)
            self._room.write(lambda: self._log_portrait(self._gallery.draw_last()))
            trainer.dismiss_team()
            self.write_status("finished" if finished else "stopped")
            return finished
        finally:
            self._metrics.close()

    @property
    def _unpublished(self) -> bool:
        """The policy has learned something that no bundle has; parameters of another run count."""
        trainer = self.trainer
        return trainer.updates > self._published_updates and (trainer.updates > 0 or trainer.given)

    def _written_updates(self) -> int:
        """Updates behind the newest bundle on disk, of an earlier start perhaps; -1 if there is none that is whole."""
        try:
            return read_bundle(self.bundle, None).manifest.training_step
        except BundleError:
            return -1

    def _advance(self) -> None:
        trainer = self.trainer
        room = self.budget.rows_left(trainer)
        if self._step_environment is not None and room > 0 and not trainer.due:
            self._step_environment()
        new = trainer.ingest(room) if room > 0 else 0
        trainer.idle()
        if trainer.due:
            self._phase = "training"
            trainer.update()
            return
        missing, local = trainer.rows_missing, self._step_environment is not None
        if missing:
            self._say(f"waiting for experience: {missing} rows missing until the first update")
        elif not new and not local:
            self._say("paused: no new experience")
        if not new and not local:
            time.sleep(PAUSE)

    def _wait(self, phase: str) -> None:
        """A moment without training, of which the robots notice nothing; who asks is told why."""
        self._say(phase)
        self.trainer.idle()
        self.write_status(phase)
        self._stop.wait(STATUS_EVERY)

    def _say(self, phase: str) -> None:
        if phase.split(":")[0] != self._phase.split(":")[0]:
            _log.info("%s", phase)
        self._phase = phase

    def publish(self) -> None:
        """Write the next bundle and announce it; keeps the files of the last few."""
        version = self.version + 1
        self._publish(bundle_path(self._bundles, version), version, self.trainer.updates)
        self.version = version  # not before: on a full disk it is tried again
        self._published_updates = self.trainer.updates
        for old in written_bundles(self._bundles)[:-5]:
            old.unlink()

    def _write_metrics(self) -> None:
        assert self.trainer.last is not None
        metrics = {name: float(value) for name, value in self.trainer.last.scalars().items()}
        self._log(metrics | self._progress())
        self._metrics.write_robots(self._lived, self._robots())
        losses = {name: float(value) for name, value in self.trainer.last.losses.items()}
        self._losses = {k: v if math.isfinite(v) else None for k, v in losses.items()}

    @property
    def _lived(self) -> int:
        """Rows that were lived here: what episodes.jsonl counts by, so curves over training stand beside returns."""
        return self.trainer.env_steps - self.trainer.demonstrations

    def _log(self, metrics: dict[str, float]) -> None:
        if metrics:
            self._metrics.write(self._lived, self.trainer.updates, metrics)

    def _log_portrait(self, portrait: Arrays) -> None:
        self._log(summary(portrait))
        if self.trainer.updates >= self._picture_at:  # a few hundred over any run: each has hundreds of kilobytes
            self._picture_at = RARER * self.trainer.updates
            pictures = {f"dream/{name}": strip_pixels(portrait, name)[0] for name in cameras(portrait)}
            self._metrics.show(self._lived, self.trainer.updates, pictures)

    def _progress(self) -> dict[str, float]:
        """How the run goes, beside what is learned."""
        trainer = self.trainer
        found = {
            "run/env_steps_per_s": self._step_rate.last,
            "run/updates_per_s": self._update_rate.last,
            "run/train_ratio": trainer.rows_replayed / max(1, trainer.env_steps),
            "run/replay_size": float(len(trainer.replay)),
            "run/skipped_updates": float(trainer.skipped),
        }
        if trainer.episodes.returns:
            found |= {"episode/return": trainer.episodes.returns[-1], "episode/length": trainer.episodes.last_length}
        return found

    def write_status(self, phase: str) -> None:
        """Replace status.json, which the live display reads; on a full disk it stays as it is, and the log tells."""
        trainer = self.trainer
        returns = trainer.episodes.returns
        status = RunStatus(
            time=time.time(),
            monotonic=time.monotonic(),  # the same for all processes of this machine since it started
            phase=phase,
            env_steps=trainer.env_steps,
            demonstrations=trainer.demonstrations,
            episodes=trainer.episodes.count,
            last_return=returns[-1] if returns else None,
            mean_return_10=sum(returns) / len(returns) if returns else None,
            updates=trainer.updates,
            updates_per_s=self._update_rate.update(trainer.updates),
            env_steps_per_s=self._step_rate.update(trainer.env_steps),
            replay_size=len(trainer.replay),
            replay_capacity=trainer.replay.capacity,
            bundle_version=self.version,
            train_ratio=None if trainer.offline else trainer.config.train_ratio,
            rows_replayed=trainer.rows_replayed,
            elapsed_s=trainer.training_seconds,
            budget_s=self.budget.seconds,
            budget_steps=self.budget.env_steps,
            budget_epochs=self.budget.epochs,
            losses=self._losses,
            skipped_updates=trainer.skipped,
            robots=self._robots(),
            link=self._link(),
        )
        try:
            write_json_atomically(trainer.logdir / STATUS_FILE, msgspec.to_builtins(status))
        except OSError as error:
            if not is_full(error):
                raise
