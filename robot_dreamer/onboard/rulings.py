"""What a person says of the running episode: an event, which counts once and for this episode only.

Callbacks say, the control loop takes: they exchange references, never locks.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import replace

from robot_dreamer.onboard.sample import Sample
from robot_dreamer.spec import RobotSpec

_MOST = 100  # words between two ticks


class Ruling(enum.Enum):
    """The names are those of the services."""

    SUCCESS = "success"
    FAILURE = "failure"
    END = "end_episode"


class Rulings:
    """The queue of one controller.

    Attributes:
      lost: words that ended nothing, because the episode that they were about had ended, or had been ended by another.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self.lost = 0
        self._rewards = {Ruling.SUCCESS: spec.operator.success, Ruling.FAILURE: spec.operator.failure}
        self._said: deque[Ruling] = deque(maxlen=_MOST)  # append and popleft are atomic

    def say(self, ruling: Ruling) -> None:
        """Ends the running episode with its next row."""
        self.lost += len(self._said) == _MOST
        self._said.append(ruling)

    def apply(self, sample: Sample, running: bool) -> Sample:
        """The sample as the first word since the last call has it: the task is over, for good or by time.

        Args:
          running: an episode runs; if none does, what was said was about one that is over.
        """
        said = []
        while self._said:
            said.append(self._said.popleft())
        if not said or not running:
            self.lost += len(said)
            return sample
        self.lost += len(said) - 1
        ruling = said[0]
        if ruling is Ruling.END:
            return replace(sample, last=True)
        return replace(sample, reward=sample.reward + self._rewards[ruling], terminal=True)
