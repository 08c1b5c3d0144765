"""Portraits over a run: drawn beside training at a bounded cost, and a few of them kept as files."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from robot_dreamer.durable import replacing
from robot_dreamer.learner.hopes import EPISODE_ROWS, value_along
from robot_dreamer.learner.memory import OutOfMemory, fitting
from robot_dreamer.learner.portrait import CONTEXT, ROWS, portrait
from robot_dreamer.learner.trainer import Trainer
from robot_dreamer.numbered_files import number_of
from robot_dreamer.record import Arrays
from robot_dreamer.report.run_files import portrait_files, portrait_path

_log = logging.getLogger(__name__)
KEPT = 8  # files, the first and the last among them
WINDOWS = 8  # of the newest experience, which a portrait is drawn of
SHARE = 0.02  # of the time that a run may spend on portraits


class Gallery:
    """Draws a portrait every `every` seconds, or less often where it would take more than SHARE of the time.

    Args:
      every: seconds; 0: never.
    """

    def __init__(self, trainer: Trainer, every: float) -> None:
        self._trainer, self._every = trainer, every
        self._due = time.monotonic()
        self._drawn_at = -1  # updates

    @property
    def due(self) -> bool:
        """Whether the time has come, and something has been learned since."""
        return self._every > 0 and time.monotonic() >= self._due and self._trainer.updates > max(0, self._drawn_at)

    def draw(self) -> Arrays:
        """Draw a portrait of the newest experience and write its file; empty where there is not enough of it."""
        began, trainer = time.monotonic(), self._trainer
        self._due, self._drawn_at = began + self._every, trainer.updates
        batch = trainer.replay.newest(WINDOWS, ROWS) or trainer.replay.newest(WINDOWS, CONTEXT + 3)
        if batch is None:
            return {}
        try:
            with fitting("for a portrait"):
                arrays = portrait(trainer.agent, batch, seed=trainer.updates)
                episode = trainer.replay.newest_episode(EPISODE_ROWS)
                if episode is not None:
                    arrays |= value_along(trainer.agent, episode, seed=trainer.updates)
        except OutOfMemory as error:
            self._every = 0.0
            _log.warning("%s: none is drawn from now on, and training goes on", error)
            return {}
        self._write({**arrays, "update": np.array(trainer.updates), "env_step": np.array(trainer.env_steps)})
        took = time.monotonic() - began
        self._due = time.monotonic() + max(self._every, took / SHARE)
        _log.info("portrait after %d updates: %.1f s", trainer.updates, took)
        return arrays

    def draw_last(self) -> Arrays:
        """The portrait of the agent as it is at the end, unless that is drawn already."""
        fresh = self._every > 0 and self._trainer.updates > max(0, self._drawn_at)
        return self.draw() if fresh else {}

    def _write(self, arrays: Arrays) -> None:
        path = portrait_path(self._trainer.logdir, int(arrays["update"]))
        path.parent.mkdir(exist_ok=True)
        with replacing(path, lasting=False) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type] # its stubs take the names for options
        _thin_out(portrait_files(self._trainer.logdir))


def _thin_out(paths: list[Path]) -> None:
    """Delete files until KEPT are left, so that they lie as evenly over the updates as they can."""
    while len(paths) > KEPT:
        updates = [number_of(path) for path in paths]
        gaps = [updates[i + 1] - updates[i - 1] for i in range(1, len(paths) - 1)]
        paths.pop(1 + gaps.index(min(gaps))).unlink()
