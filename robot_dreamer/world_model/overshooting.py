"""Latent overshooting: the prior is also judged several steps ahead of the last observation (PlaNet, section 4).

    KL[ sg q(z_{t+d} | o_{<= t+d}) || p(z_{t+d} | z_t, a) ]      d = 1 ... D, z_t .. z_{t+d-1} drawn from the prior

Distance 0 is the ordinary KL of one step. The authors found that it helps other models and slightly hurts the RSSM.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robot_dreamer.world_model.rssm import RSSM, Latents, Observed


class Overshoot(NamedTuple):
    """Divergences at distances 1 to D from each row."""

    kl: Tensor
    """(D, B, T) nats, zero where the row ahead is not of the same sequence or episode; no gradient to posteriors."""
    valid: Tensor
    """(D, B, T) bool."""


def overshoot(rssm: RSSM, observed: Observed, action: Tensor, keep: Tensor, noise: Tensor) -> Overshoot:
    """Roll the prior out from every row of a filtered sequence.

    action: (B, T, A) features of the action before each row; keep: (B, T) float, 0 where a row begins an episode;
    noise: (D, B, T, *latent.shape) of the draws at distances 0 to D - 1.
    """
    latent, (rows, steps) = rssm.latent, keep.shape
    prepared = rssm.prepare()
    deter = observed.deter.flatten(0, 1)  # (B T, D): a row's h knows the posterior of the row before, not its own
    statistics = rssm.prior_statistics(deter)
    inside = torch.ones_like(keep, dtype=torch.bool)
    ahead = torch.arange(steps, device=keep.device)
    divergences, valid = [], []
    for distance, draw in enumerate(noise, 1):
        state = Latents(deter, latent.draw(statistics, draw.flatten(0, 1)))
        # What is rolled round from the beginning of the sequence is not valid, and masked below.
        deter = rssm.step(*state, action.roll(-distance, 1).flatten(0, 1), prepared)
        statistics = rssm.prior_statistics(deter)
        inside = inside & (keep.roll(-distance, 1) > 0) & (ahead < steps - distance)
        posterior = latent(observed.posterior.detach().roll(-distance, 1))
        kl = latent.kl(posterior, latent(statistics.unflatten(0, (rows, steps))))
        divergences.append(torch.where(inside, kl, 0.0))
        valid.append(inside)
    return Overshoot(torch.stack(divergences), torch.stack(valid))


def overshooting_loss(shot: Overshoot, free_nats: float) -> Tensor:
    """Mean over distances and rows of max(0, KL - free nats): (B, T); rows that reach beyond the end count as zero."""
    return (shot.kl - free_nats).clamp(min=0).mean(0)
