"""Settings of the optimiser, and the weights of the loss terms."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from robot_dreamer.config.check import Section, require, require_range


@dataclass(frozen=True)
class OptimizerConfig(Section):
    """One optimiser. DreamerV3's clips each tensor, divides by its RMS, then takes the momentum."""

    rule: Literal["laprop", "adam", "adam_tf"] = "laprop"
    """laprop: DreamerV3; adam: DayDreamer; adam_tf: the generations before it, whose epsilon is not bias-corrected."""
    learning_rate: float = 4e-5
    """Step size after the warm-up."""
    warmup: int = 1000
    """Updates over which the step size grows linearly from zero; 0 switches the warm-up off."""
    agc: float = 0.3
    """Largest gradient norm of a tensor relative to the norm of the tensor."""
    agc_minimum: float = 1e-3
    """Smallest parameter norm that the clipping assumes."""
    beta1: float = 0.9
    """Decay of the momentum."""
    beta2: float = 0.999
    """Decay of the second moment."""
    epsilon: float = 1e-20
    """Added to the root of the second moment."""
    clip: float = 100.0
    """Adam: largest norm of the whole gradient."""
    clip_entries: float = 0.0
    """Adam: largest size of an entry of the gradient; 0 for no bound (M of World Models: 1)."""
    decay: float = 0.0
    """Adam: share of the weights lost at each update; with `adam` times the learning rate."""
    decay_kernels: bool = False
    """Decay kernels only, not biases and norms."""

    def check(self) -> None:
        require(self.learning_rate > 0, "learning_rate", "a positive number", self.learning_rate)
        require(self.warmup >= 0, "warmup", "0 or a positive number", self.warmup)
        for name in ("agc", "agc_minimum", "epsilon", "clip"):
            require(getattr(self, name) > 0, name, "a positive number", getattr(self, name))
        for name in ("clip_entries", "decay"):
            require(getattr(self, name) >= 0, name, "0 or a positive number", getattr(self, name))
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            require(0 <= value < 1, name, "at least 0 and below 1", value)
        lost = self.decay * (self.learning_rate if self.rule == "adam" else 1.0)
        expected = "less than 1, with the rule adam times the learning rate"
        require(lost < 1, "decay", expected, self.decay, ("rule", "learning_rate"))


@dataclass(frozen=True)
class LossScales(Section):
    """Factor of each loss term in the total loss."""

    reconstruction: float = 1.0
    """Each decoded observation."""
    reward: float = 1.0
    """Reward head."""
    continuation: float = 1.0
    """Continue head."""
    dynamics: float = 1.0
    """KL that pulls the prior towards the posterior."""
    representation: float = 0.1
    """KL that pulls the posterior towards the prior."""
    kl: float = 1.0
    """KL of posterior and prior as one term, in the generations before DreamerV3."""
    overshooting: float = 1.0
    """Latent overshooting."""
    policy: float = 1.0
    """Policy, on imagined trajectories."""
    value: float = 1.0
    """Critic, on imagined trajectories."""
    memory: float = 1.0
    """M of World Models: negative log-likelihood of the next code, per latent number."""
    replay_value: float = 0.3
    """Critic, on replayed trajectories; shapes the representation."""

    def check(self) -> None:
        for item in dataclasses.fields(self):
            require_range(item.name, getattr(self, item.name), 0.0, math.inf)
        # Actor, planner and controller know of the reward only what the world model foretells.
        require(self.reward > 0, "reward", "more than 0, or no behaviour has a reward to go by", self.reward)
