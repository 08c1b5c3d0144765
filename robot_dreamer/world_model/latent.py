"""What a latent is: how it is drawn from a network's numbers, compared, and kept in a replay. The one place that knows.

Letters: S latent variables, K classes of each.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.distributions import Categorical, Normal, one_hot

LatentDistribution = Categorical | Normal


class LatentSpace(Protocol):
    """The kind and size of the stochastic latents of a world model."""

    shape: tuple[int, ...]
    """Of one latent: (S, K) one-hot classes, (S,) numbers."""
    statistics: tuple[int, ...]
    """Shape of the numbers by which a network describes a distribution over latents."""
    noise: Literal["gumbel", "normal"]
    """Distribution of the noise that a draw takes; it has the shape of the latent."""
    stored: tuple[tuple[int, ...], type[np.generic]]
    """Shape and dtype of a latent in the replay."""

    def __call__(self, statistics: Tensor) -> LatentDistribution:
        """(..., *statistics) -> distribution over latents."""

    def draw(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """(..., *statistics), (..., *shape) -> latents (..., *shape), differentiable; zero noise gives the mode."""

    def kl(self, posterior: LatentDistribution, prior: LatentDistribution) -> Tensor:
        """KL(posterior || prior) in nats, summed over the latent variables: (...)."""

    def pack(self, stoch: Tensor) -> Tensor:
        """Latents (..., *shape) -> what is stored of them."""

    def unpack(self, stored: Tensor) -> Tensor:
        """The inverse of `pack`, without gradient."""


class Classes:
    """S one-hot variables of K classes, drawn with straight-through gradients (DreamerV2, DayDreamer, DreamerV3).

    unimix: share of the uniform distribution that is mixed in.

    Raises ValueError for more classes than one stored byte can name.
    """

    noise: Literal["gumbel", "normal"] = "gumbel"

    def __init__(self, stoch: int, classes: int, unimix: float = 0.0) -> None:
        if classes > 256:
            raise ValueError(f"a latent class is stored in one byte: at most 256 classes, found {classes}")
        self.shape: tuple[int, ...] = (stoch, classes)
        self.statistics: tuple[int, ...] = (stoch, classes)
        self.stored: tuple[tuple[int, ...], type[np.generic]] = ((stoch,), np.uint8)
        self.unimix = unimix

    def __call__(self, statistics: Tensor) -> Categorical:
        """Logits (..., S, K) -> distribution."""
        return Categorical(statistics, self.unimix)

    def draw(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """Logits (..., S, K), Gumbel noise of that shape -> one-hot (..., S, K)."""
        return self(statistics).sample_one_hot(noise)

    def kl(self, posterior: LatentDistribution, prior: LatentDistribution) -> Tensor:
        """See `LatentSpace`."""
        assert isinstance(posterior, Categorical) and isinstance(prior, Categorical)
        return posterior.kl(prior).sum(-1)

    def pack(self, stoch: Tensor) -> Tensor:
        """One-hot (..., S, K) -> class indices (..., S), one byte each."""
        return stoch.argmax(-1).to(torch.uint8)

    def unpack(self, stored: Tensor) -> Tensor:
        """Class indices (..., S) -> one-hot (..., S, K)."""
        return one_hot(stored.long(), self.shape[-1])


class Numbers:
    """S normal variables, drawn by reparameterisation (World Models, PlaNet, Dreamer V1).

    std = softplus(x) + min_std           "softplus": PlaNet and Dreamer V1
    std = 2 sigmoid(x / 2) + min_std      "sigmoid2": DreamerV2 with normal latents
    std = exp(x / 2)                      "log_variance": the variational auto-encoder of World Models
    """

    noise: Literal["gumbel", "normal"] = "normal"

    def __init__(
        self, stoch: int, min_std: float = 0.1, rule: Literal["softplus", "sigmoid2", "log_variance"] = "softplus"
    ) -> None:
        self.shape: tuple[int, ...] = (stoch,)
        self.statistics: tuple[int, ...] = (2 * stoch,)
        self.stored: tuple[tuple[int, ...], type[np.generic]] = ((stoch,), np.float32)
        self.min_std, self.rule = min_std, rule

    def __call__(self, statistics: Tensor) -> Normal:
        """(..., 2 S), first the means -> distribution."""
        mean, spread = statistics.float().chunk(2, -1)
        if self.rule == "softplus":
            return Normal(mean, functional.softplus(spread) + self.min_std)
        if self.rule == "sigmoid2":
            return Normal(mean, 2 * torch.sigmoid(spread / 2) + self.min_std)
        return Normal(mean, torch.exp(spread / 2))

    def draw(self, statistics: Tensor, noise: Tensor) -> Tensor:
        """(..., 2 S), standard-normal noise (..., S) -> numbers (..., S)."""
        return self(statistics).sample(noise)

    def kl(self, posterior: LatentDistribution, prior: LatentDistribution) -> Tensor:
        """See `LatentSpace`."""
        assert isinstance(posterior, Normal) and isinstance(prior, Normal)
        return posterior.kl(prior).sum(-1)

    def pack(self, stoch: Tensor) -> Tensor:
        """Numbers (..., S) as they are."""
        return stoch.float()

    def unpack(self, stored: Tensor) -> Tensor:
        """Numbers (..., S) as they are."""
        return stored.float()


def latent_space(config: ModelConfig) -> LatentSpace:
    """The latents of a configuration."""
    if config.latent == "classes":
        return Classes(config.stoch, config.classes, config.unimix)
    return Numbers(config.stoch, config.min_std, config.std_rule)


def latent_size(space: LatentSpace) -> int:
    """Length of a flattened latent."""
    return math.prod(space.shape)


def stored_zeros(space: LatentSpace) -> NDArray[np.generic]:
    """A place for the latent of one row that is not known yet."""
    shape, dtype = space.stored
    return np.zeros(shape, dtype)
