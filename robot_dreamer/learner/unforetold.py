"""Episodes that end for good, and a model that does not foretell it."""

from __future__ import annotations

import logging

from robot_dreamer.config import Config
from robot_dreamer.record import StepRecord

_log = logging.getLogger(__name__)


class UnforetoldEnds:
    """Says once that dreams do not end where episodes do: Dreamer V1 and DreamerV2 as published for endless tasks.

    Their values then hope for rewards that never come, and nothing fails.
    """

    def __init__(self, config: Config) -> None:
        self._silent = config.objective != "dreamer" or config.model.continue_head

    def see(self, row: StepRecord) -> None:
        """A row of experience."""
        if row.is_terminal and not self._silent:
            self._silent = True
            _log.warning(
                "an episode has ended for good, which this model does not foretell: its dreams go on, and values count "
                "rewards that never come; begin again with --set model.continue_head=true (docs/debugging.md)"
            )
