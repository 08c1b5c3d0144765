"""Distributions as objects with `.loss`, `.mean`, `.sample(noise)`, `.entropy` and `.kl`, in float32.

Noise is an argument everywhere; zero noise gives the most likely class or the mean.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from robot_dreamer.world_model.fast.forms import softmax
from robot_dreamer.world_model.layers import in_float32


def symlog(x: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|), element-wise."""
    return torch.sign(x) * torch.log1p(torch.abs(x))


def symexp(x: Tensor) -> Tensor:
    """sign(x) (exp(|x|) - 1), the inverse of symlog."""
    return torch.sign(x) * torch.expm1(torch.abs(x))


def symexp_bins(count: int) -> Tensor:
    """`count` (odd) values from -symexp(20) to symexp(20), equally spaced in symlog space, exactly antisymmetric."""
    half = symexp(torch.linspace(-20.0, 0.0, count // 2 + 1))
    return torch.cat((half, -half[:-1].flip(0)))


def gumbel(uniform: Tensor) -> Tensor:
    """Gumbel noise from numbers that are uniform in [0, 1)."""
    # The offset keeps the inner logarithm finite at 0; uniform numbers in float32 never reach 1.
    return -torch.log(-torch.log(uniform + 1e-20))


def one_hot(index: Tensor, classes: int) -> Tensor:
    """(...) class indices -> (..., classes) floats; an index outside gives zeros."""
    return (index.unsqueeze(-1) == torch.arange(classes, device=index.device)).float()


class Categorical:
    """Categorical distribution over the last axis of the logits, optionally mixed with a uniform one."""

    def __init__(self, logits: Tensor, unimix: float = 0.0) -> None:
        self.logits = logits = logits.float()
        self.classes = logits.shape[-1]
        if unimix > 0:
            self.softmax = softmax(logits)
            self.probs = self.softmax * (1 - unimix) + unimix / self.classes
            self.log_probs = torch.log(self.probs)
        else:
            self.log_probs = functional.log_softmax(logits, -1)
            self.softmax = self.probs = torch.exp(self.log_probs)

    def sample(self, noise: Tensor) -> Tensor:
        """Class indices; noise is Gumbel noise of the shape of the logits."""
        return torch.argmax(self.log_probs.detach() + noise, -1)

    def sample_one_hot(self, noise: Tensor) -> Tensor:
        """One-hot classes of the shape of the logits; their gradient is that of the probabilities."""
        sample = one_hot(self.sample(noise), self.classes)
        if not self.probs.requires_grad:
            return sample
        # Straight-through; in this order the value is exactly one-hot, and classes that never occur get no gradient.
        return sample + (self.probs - self.probs.detach())

    def log_prob(self, event: Tensor) -> Tensor:
        """Log-probability of class indices."""
        return self.log_probs.gather(-1, event.long().unsqueeze(-1)).squeeze(-1)

    def loss(self, event: Tensor) -> Tensor:
        """Cross-entropy with class indices."""
        return -self.log_prob(event)

    def entropy(self) -> Tensor:
        """Entropy in nats, one number per distribution."""
        return -(self.probs * self.log_probs).sum(-1)

    def kl(self, other: Categorical) -> Tensor:
        """KL(self || other) in nats, one number per distribution."""
        return (self.probs * (self.log_probs - other.log_probs)).sum(-1)

    def detach(self) -> Categorical:
        """The same distribution without gradient."""
        copy = object.__new__(Categorical)
        copy.classes, copy.logits = self.classes, self.logits.detach()
        copy.softmax = self.softmax.detach()
        copy.probs, copy.log_probs = self.probs.detach(), self.log_probs.detach()
        return copy


class Normal:
    """Independent normal distributions; neither squashed nor truncated."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = mean.float(), std.float()

    @staticmethod
    def bounded(mean: Tensor, std: Tensor, min_std: float, max_std: float) -> Normal:
        """From network outputs: mean = tanh(mean), std = (max - min) sigmoid(std + 2) + min."""
        return Normal(torch.tanh(mean.float()), (max_std - min_std) * torch.sigmoid(std.float() + 2.0) + min_std)

    def sample(self, noise: Tensor) -> Tensor:
        """Mean plus standard deviation times standard-normal noise."""
        return self.mean + self.std * noise

    def log_prob(self, event: Tensor) -> Tensor:
        """Log-density per component."""
        return -0.5 * ((event - self.mean) / self.std).square() - torch.log(self.std) - 0.5 * math.log(2 * math.pi)

    def entropy(self) -> Tensor:
        """Entropy in nats per component."""
        return torch.log(self.std) + 0.5 * math.log(2 * math.pi * math.e)

    def kl(self, other: Normal) -> Tensor:
        """KL(self || other) in nats per component."""
        ratio = (self.std / other.std).square()
        distance = ((self.mean - other.mean) / other.std).square()
        return 0.5 * (ratio + distance - 1 - torch.log(ratio))

    def detach(self) -> Normal:
        """The same distributions without gradient."""
        return Normal(self.mean.detach(), self.std.detach())


class Binary:
    """Bernoulli distribution of a logit."""

    def __init__(self, logit: Tensor) -> None:
        self.logit = logit.float()

    @property
    def mean(self) -> Tensor:
        """Probability of 1."""
        return torch.sigmoid(self.logit)

    def loss(self, label: Tensor) -> Tensor:
        """Cross-entropy with a label between 0 and 1."""
        return functional.binary_cross_entropy_with_logits(self.logit, label, reduction="none")


class SymlogMSE:
    """A prediction in symlog space; the loss has no factor of one half."""

    def __init__(self, prediction: Tensor) -> None:
        self.prediction = prediction.float()

    @property
    def mean(self) -> Tensor:
        """Prediction in the units of the target."""
        return symexp(self.prediction)

    def loss(self, target: Tensor) -> Tensor:
        """Squared distance to symlog(target) per component."""
        return (self.prediction - symlog(target.float())).square()


class MSE:
    """A prediction in the units of the target; the loss has no factor of one half."""

    def __init__(self, prediction: Tensor) -> None:
        self.mean = prediction.float()

    def loss(self, target: Tensor) -> Tensor:
        """Squared distance per component."""
        return (self.mean - target).square()


class HalfMSE(MSE):
    """The mean of a unit normal: half the squared error, the negative log-density without its constant."""

    def loss(self, target: Tensor) -> Tensor:
        """Half the squared distance per component."""
        return 0.5 * super().loss(target)


class TwoHot:
    """Categorical distribution over numeric bins for one real number (DreamerV3, section "Symexp twohot loss").

    `bins` (n) are antisymmetric, n is odd. Weights interpolate between bins in value space.
    """

    def __init__(self, logits: Tensor, bins: Tensor) -> None:
        self.logits, self.bins = logits.float(), bins

    @property
    def log_probs(self) -> Tensor:
        """Log-probabilities of the bins (..., n)."""
        return functional.log_softmax(self.logits, -1)

    @property
    def mean(self) -> Tensor:
        """Expectation; exactly 0 for uniform probabilities, because opposite bins are paired before the sum."""
        # A plain sum of terms as large as 5e8 would give -0.5 instead of 0 in float32.
        half = self.bins.shape[0] // 2
        probs = functional.softmax(self.logits, -1)
        difference = probs[..., half + 1 :] - probs[..., :half].flip(-1)
        return in_float32(torch.matmul, difference, self.bins[half + 1 :])

    def encode(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Indices (..., 2) of the neighbouring bins and their weights (..., 2); outside values go to the last bin."""
        last = self.bins.shape[0] - 1
        # Last bin at or below the target, first bin above it.
        above = torch.bucketize(target.contiguous(), self.bins, right=True)
        below = (above - 1).clamp(0, last)
        above = above.clamp(0, last)
        to_below = (self.bins[below] - target).abs()
        to_above = (self.bins[above] - target).abs()
        # Outside the range both are the same bin; a NaN, which sorts last, must stay one.
        same = (below == above) & ~target.isnan()
        to_below = torch.where(same, 1.0, to_below)
        to_above = torch.where(same, 1.0, to_above)
        total = to_below + to_above
        return torch.stack((below, above), -1), torch.stack((to_above / total, to_below / total), -1)

    def loss(self, *targets: Tensor) -> Tensor:
        """Cross-entropies with the two-hot encodings of one or several targets (...), stacked: (targets, ...)."""
        index, weight = self.encode(torch.stack(targets, -1))  # (..., M, 2)
        chosen = self.log_probs.gather(-1, index.flatten(-2)).view_as(weight)
        return -(weight * chosen).sum(-1).movedim(-1, 0)
