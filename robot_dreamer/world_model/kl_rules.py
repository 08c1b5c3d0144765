"""How the generations before DreamerV3 make one loss of the divergence of posterior and prior.

All take distributions over (B, T) rows and return the loss () with gradient. DreamerV3's rule is in `losses.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robot_dreamer.world_model.latent import LatentDistribution, LatentSpace
from robot_dreamer.world_model.whole_batch import JoinRows, mean_of_parts


class KL(NamedTuple):
    """A divergence as a loss."""

    loss: Tensor
    """() with gradient."""
    value: Tensor
    """(B, T) KL(posterior || prior) in nats, without gradient."""
    scale: Tensor
    """() the scale that was used; new where it adapts itself."""


def hinge(latent: LatentSpace, posterior: LatentDistribution, prior: LatentDistribution, free_nats: float) -> Tensor:
    """mean of max(0, KL - free nats), row by row (PlaNet)."""
    return (latent.kl(posterior, prior) - free_nats).clamp(min=0).mean()


def floored(mean: Tensor, free_nats: float, join_rows: JoinRows | None = None) -> Tensor:
    """max(mean, free nats), both (): below the floor there is no gradient. The mean of the whole batch decides."""
    return torch.where(mean_of_parts(mean, join_rows) < free_nats, free_nats, mean)


def floor_of_mean(
    latent: LatentSpace,
    posterior: LatentDistribution,
    prior: LatentDistribution,
    free_nats: float,
    join_rows: JoinRows | None = None,
) -> Tensor:
    """max(mean KL, free nats): below the floor no row has a gradient (Dreamer V1)."""
    return floored(latent.kl(posterior, prior).mean(), free_nats, join_rows)


def balanced(
    latent: LatentSpace,
    posterior: LatentDistribution,
    prior: LatentDistribution,
    free_nats: float,
    balance: float,
    join_rows: JoinRows | None = None,
) -> Tensor:
    """balance KL(sg q || p) + (1 - balance) KL(q || sg p), each mean with its own floor (DreamerV2, equation 2)."""
    to_prior = floored(latent.kl(posterior.detach(), prior).mean(), free_nats, join_rows)
    to_posterior = floored(latent.kl(posterior, prior.detach()).mean(), free_nats, join_rows)
    return balance * to_prior + (1 - balance) * to_posterior


def adapted(scale: Tensor, value: Tensor, target: float, low: float, high: float, inverse: bool = False) -> Tensor:
    """A scale after one step of DayDreamer's rule: a tenth up or down when `value` leaves the band around the target.

    Up where the value is above 1.1 target, down where it is below target / 1.1; the reverse with `inverse`. The result
    stays within [low, high]. scale and value have the same shape.
    """
    above, below = value > 1.1 * target, value < target / 1.1
    up, down = (below, above) if inverse else (above, below)
    factor = torch.where(up, 1.1, torch.where(down, 1 / 1.1, 1.0))
    return (scale * factor).clamp(low, high)


def kl_loss(
    rule: str,
    latent: LatentSpace,
    posterior_statistics: Tensor,
    prior_statistics: Tensor,
    free_nats: float,
    balance: float,
    scale: Tensor,
    join_rows: JoinRows | None = None,
) -> KL:
    """The loss by `model.kl_rule`: hinge, floor_of_mean, balanced, or adaptive, whose scale moves before it is used.

    scale: () as it is before this update; only the adaptive rule changes it (target `free_nats`, DayDreamer: 3.5).
    join_rows: where several processes hold parts of a batch, whose mean counts, gives the rows of all of them.
    """
    posterior, prior = latent(posterior_statistics), latent(prior_statistics)
    value = latent.kl(posterior.detach(), prior.detach())
    if rule == "hinge":
        return KL(scale * hinge(latent, posterior, prior, free_nats), value, scale)
    if rule == "floor_of_mean":
        return KL(scale * floor_of_mean(latent, posterior, prior, free_nats, join_rows), value, scale)
    if rule == "balanced":
        return KL(scale * balanced(latent, posterior, prior, free_nats, balance, join_rows), value, scale)
    new = adapted(scale, mean_of_parts(value.mean(), join_rows), free_nats, 1e-3, 1.0)
    return KL(new * balanced(latent, posterior, prior, 0.0, balance), value, new)
