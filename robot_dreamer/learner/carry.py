"""Filtering rows as they arrive, and what one call hands to the next."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_dreamer.behavior.policy_step import Perception
from robot_dreamer.learner.objectives.parts import Parts
from robot_dreamer.world_model.latent import LatentSpace
from robot_dreamer.world_model.rssm import RSSM, Latents, Observed, encode_action

FEW = 4  # rows in one function: with more it takes longer to compile, with one its call costs what it saves


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

    @staticmethod
    def stored(
        deter: NDArray[np.float32],
        stoch: NDArray[Any],
        action: Mapping[str, NDArray[Any]],
        latent: LatentSpace,
        device: torch.device,
    ) -> Carry:
        """From a row of a replay, as `Replay.last` gives it."""

        def one(value: NDArray[Any]) -> Tensor:
            return torch.from_numpy(np.asarray(value))[None].to(device)

        return Carry(one(deter), latent.unpack(one(stoch)), {name: one(value) for name, value in action.items()})


def observe_rows(
    parts: Parts,
    observation: dict[str, Tensor],
    action: dict[str, Tensor],
    is_first: Tensor,
    carry: Carry | None,
    noise: Tensor,
    world: Perception | None = None,
) -> Observed:
    """Filter rows (B, T, ...); see `Agent.observe`."""
    world = parts.world if world is None else world
    rssm, (rows, steps) = world.rssm, is_first.shape
    if carry is None:
        zeros = {name: torch.zeros_like(value[:, 0]) for name, value in action.items()}
        carry, is_first = Carry(*rssm.initial(rows), zeros), is_first.clone()
        is_first[:, 0] = True
    previous = {
        name: torch.cat((carry.action[name].unsqueeze(1), value[:, :-1]), 1).flatten(0, 1)
        for name, value in action.items()
    }
    tokens = world.encoder({name: value.flatten(0, 1) for name, value in observation.items()})
    start = Latents(carry.deter.float(), carry.stoch.float())
    features = encode_action(parts.actions, previous).unflatten(0, (rows, steps))
    stream = rows == 1 and parts.compiled.on and world is parts.world
    filter_all = partial(_observe_stream, parts) if stream else rssm.observe
    return filter_all(start, tokens.unflatten(0, (rows, steps)), features, 1 - is_first.float(), noise)


def _observe_stream(
    parts: Parts, start: Latents, tokens: Tensor, action: Tensor, keep: Tensor, noise: Tensor
) -> Observed:
    """`RSSM.observe` of one stream, a few rows at a time in one compiled function.

    As a robot lives there is one row after the other to filter, and starting the operators takes nearly all the time.
    """
    rssm = parts.world.rssm
    observe_few = parts.compiled("observe few", partial(RSSM.filter_few, rssm))
    state, found = start, []
    for t in range(0, tokens.shape[1], FEW):
        now = slice(t, t + FEW)
        whole = t + FEW <= tokens.shape[1]  # compiled for this many, and for no other
        few = (observe_few if whole else rssm.observe)(state, tokens[:, now], action[:, now], keep[:, now], noise[now])
        state = Latents(few.deter[:, -1], few.stoch[:, -1])
        found.append(few)
    return Observed(*(torch.cat(values, 1) for values in zip(*found, strict=True)))
