"""How a run begins: where it was, with another run's parameters, or anew."""

from __future__ import annotations

import logging
from pathlib import Path

from robot_dreamer.data.demonstrations import add_demonstrations
from robot_dreamer.learner.trainer import Trainer
from robot_dreamer.learner.transfer import start_from

_log = logging.getLogger(__name__)


def resume_or_begin(trainer: Trainer, init_from: str, demonstrations: str = "") -> bool:
    """Resume; else begin, with the parameters of the run `init_from` where there is one. Returns whether it resumed.

    The rows of `demonstrations`, a run or a store, come into the run's own store before.
    """
    if demonstrations:
        taken = add_demonstrations(Path(demonstrations), trainer.store)
        _log.info("demonstrations: %d rows of %s are new", taken, demonstrations)
    if trainer.resume():
        _log.info("resumed at %d updates, %d rows", trainer.updates, trainer.env_steps)
        if init_from:
            _log.info("--init-from %s was for the beginning of this run and is not read again", init_from)
        return True
    if init_from:
        start_from(trainer, Path(init_from))
    elif trainer.config.freeze:
        _log.warning("frozen before they have learned anything: %s", ", ".join(trainer.config.freeze))
    return False
