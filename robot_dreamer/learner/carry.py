"""Filtering rows as they arrive, and what one call hands to the next."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robot_dreamer.learner.objectives.parts import Parts
from robot_dreamer.world_model.rssm import Latents, Observed, encode_action


class Carry(NamedTuple):
    """What filtering needs of the row before."""

    deter: Tensor
    """(B, D)."""
    stoch: Tensor
    """(B, *latent.shape)."""
    action: dict[str, Tensor]
    """(B, *shape) each: the action executed after that row."""

    @staticmethod
    def after(latents: Latents | Observed, action: dict[str, Tensor]) -> Carry:
        """From latents (B, T, ...) and actions (B, T, ...) of rows that have been filtered: the last of them."""
        return Carry(latents.deter[:, -1], latents.stoch[:, -1], {name: value[:, -1] for name, value in action.items()})


def observe_rows(
    parts: Parts,
    observation: dict[str, Tensor],
    action: dict[str, Tensor],
    is_first: Tensor,
    carry: Carry | None,
    noise: Tensor,
) -> Observed:
    """Filter rows (B, T, ...); see `Agent.observe`."""
    rssm, (rows, steps) = parts.world.rssm, is_first.shape
    if carry is None:
        zeros = {name: torch.zeros_like(value[:, 0]) for name, value in action.items()}
        carry, is_first = Carry(*rssm.initial(rows), zeros), is_first.clone()
        is_first[:, 0] = True
    previous = {
        name: torch.cat((carry.action[name].unsqueeze(1), value[:, :-1]), 1).flatten(0, 1)
        for name, value in action.items()
    }
    tokens = parts.world.encoder({name: value.flatten(0, 1) for name, value in observation.items()})
    start = Latents(carry.deter.float(), carry.stoch.float())
    features = encode_action(parts.actions, previous).unflatten(0, (rows, steps))
    return rssm.observe(start, tokens.unflatten(0, (rows, steps)), features, 1 - is_first.float(), noise)
