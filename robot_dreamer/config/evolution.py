"""Settings of World Models: when V, M and C are trained, and how C is evolved."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from robot_dreamer.config.check import Section, require, require_range


@dataclass(frozen=True)
class StagesConfig(Section):
    """The staged procedure, again and again on growing experience; counts are updates of one round.

    In each stage the others stand still. The defaults are the original's, which made one round.
    """

    vision: int = 100_000
    """Updates of V: one epoch of 10,000 episodes of 1,000 frames in batches of 100."""
    memory: int = 4_000
    """Updates of M, on observations that V encodes anew."""
    controller: int = 1_800
    """Generations of C, in dreams of M."""
    vision_rows: int = 100
    """Rows of the batch that V is trained on in an update; M takes all."""

    def check(self) -> None:
        for item in dataclasses.fields(self):
            require(getattr(self, item.name) > 0, item.name, "a positive number", getattr(self, item.name))


@dataclass(frozen=True)
class EvolutionConfig(Section):
    """C: a linear controller, and CMA-ES over its parameters; the defaults are the original's (car racing)."""

    population: int = 64
    """Candidates of a generation."""
    sigma: float = 0.1
    """Initial standard deviation of each parameter, around zero."""
    sigma_limit: float = 100.0
    """Above this the search has lost itself: it begins again around its mean, and that is counted."""
    dreams: int = 16
    """Dreams of a candidate; its fitness is their mean. All candidates of a generation have the same draws."""
    dream_length: int = 1000
    """Steps of a dream, unless M says that it is over."""
    from_beginning: float = 1.0
    """Share of the dreams that begin as an episode began, if the batch has such rows; the others begin anywhere."""
    temperature: float = 1.0
    """Of the draws in a dream: a larger one makes M harder to fool. The published best on Doom is 1.15."""
    reads_cell: bool = False
    """The controller reads [z, c, h] (Doom) instead of [z, h] (car racing)."""
    bias: bool = True
    """The controller has a bias (car racing; Doom: none)."""
    deploy_every: int = 25
    """Generations between two times that V, M and C are handed over together to what acts, besides a stage's end."""
    exploration: float = 0.0
    """Size of the noise on the executed action while experience is collected, once a controller was evolved: standard
    deviation of a continuous action, scale of the Gumbel noise on the outputs of a discrete one. Before, it is 1."""

    def check(self) -> None:
        for name in ("sigma", "sigma_limit", "dreams", "dream_length", "temperature", "deploy_every"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        # With fewer the library mirrors some of the last generation, and draws other noise than it is given.
        require(self.population >= 6, "population", "at least 6", self.population)
        require_range("from_beginning", self.from_beginning, 0.0, 1.0)
        require_range("exploration", self.exploration, 0.0, math.inf)
        limit = f"at least evolution.sigma = {self.sigma}"
        require(self.sigma_limit >= self.sigma, "sigma_limit", limit, self.sigma_limit, ("sigma",))
