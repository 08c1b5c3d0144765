"""Settings of what is made of rows in which a person acted."""

from __future__ import annotations

from dataclasses import dataclass

from robot_dreamer.config.check import Section, require, require_range


@dataclass(frozen=True)
class DemonstrationsConfig(Section):
    """Rows in which a person acted: demonstrations, and interventions of the run itself."""

    share: float = 0.25
    """Share of an update's windows that hold such a row, where there are any; but none of them is drawn more than eight
    times as often as any other window."""
    imitation: float = 0.0
    """Weight with which the policy also learns to do what the person did; 0: it does not."""
    half_life: int = 5000
    """Updates after which that weight is half of what it was."""

    def check(self) -> None:
        require_range("share", self.share, 0.0, 1.0)
        require(self.imitation >= 0, "imitation", "0 or a positive number", self.imitation)
        require(self.half_life > 0, "half_life", "a positive number", self.half_life)
