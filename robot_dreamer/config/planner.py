"""Settings of the planner."""

from __future__ import annotations

from dataclasses import dataclass

from robot_dreamer.config.check import Section, require, require_positive, require_range


@dataclass(frozen=True)
class PlannerConfig(Section):
    """Search for an action sequence by the cross-entropy method, anew at each step; the defaults are PlaNet's."""

    horizon: int = 12
    """Number H of planned actions."""
    iterations: int = 10
    """Rounds I of drawing, choosing and refitting."""
    candidates: int = 1000
    """Action sequences J drawn in each round."""
    elites: int = 100
    """The best K of them, to which the next round's distribution is fitted."""
    exploration: float = 0.3
    """Standard deviation of the noise on the executed action while experience is collected."""

    def check(self) -> None:
        require_positive(self, exclude=("exploration",))
        bound = f"at most planner.candidates = {self.candidates}"
        require(self.elites <= self.candidates, "elites", bound, self.elites, ("candidates",))
        require_range("exploration", self.exploration, 0.0, 1.0)
