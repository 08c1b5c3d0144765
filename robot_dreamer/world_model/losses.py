"""Losses of the world model as pure functions; every result is per row (B, T)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from robot_dreamer.world_model.latent import LatentSpace


class KLTerms(NamedTuple):
    """KL terms per row and mean entropies of the two distributions, in nats."""

    dynamics: Tensor
    """(...) trains the prior."""
    representation: Tensor
    """(...) trains the posterior."""
    kl: Tensor
    """(...) before the free nats, without gradient."""
    prior_entropy: Tensor
    """() mean entropy per row, summed over the latents."""
    posterior_entropy: Tensor
    """() mean entropy per row, summed over the latents."""


def kl_losses(latent: LatentSpace, posterior_statistics: Tensor, prior_statistics: Tensor, free_nats: float) -> KLTerms:
    """KL balancing with free nats: statistics (..., *latent.statistics) -> terms (...).

    The free nats apply to the KL summed over the S latents.
    """
    posterior, prior = latent(posterior_statistics), latent(prior_statistics)
    dynamics = latent.kl(posterior.detach(), prior)
    representation = latent.kl(posterior, prior.detach())
    return KLTerms(
        dynamics.clamp(min=free_nats),
        representation.clamp(min=free_nats),
        dynamics.detach(),
        prior.entropy().detach().sum(-1).mean(),
        posterior.entropy().detach().sum(-1).mean(),
    )


def continue_label(is_terminal: Tensor, return_horizon: int, fold_discount: bool) -> Tensor:
    """Target of the continue head: 1 - terminal, times the discount if it is folded into the head."""
    live = 1 - is_terminal.float()
    return live * (1 - 1 / return_horizon) if fold_discount else live
