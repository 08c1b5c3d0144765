"""All random numbers of one update, drawn at once and handed in as an argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from robot_dreamer.world_model.distributions import gumbel
from robot_dreamer.world_model.fields import Field


class Noise(NamedTuple):
    """Noise of one update; zeros give the most likely classes and the mean actions."""

    observe: Tensor
    """(T, B, S, K) Gumbel noise of the posterior draws."""
    imagine: Tensor
    """(H, N, S, K) Gumbel noise of the imagined draws; N imagination starts."""
    action: dict[str, Tensor]
    """Standard-normal (H+1, N, *shape) for a continuous action, Gumbel (H+1, N, *shape, classes) for a discrete one."""


def draw_noise(
    fields: Sequence[Field],
    latent: tuple[int, int],
    steps: int,
    rows: int,
    horizon: int,
    starts: int,
    generator: torch.Generator,
) -> Noise:
    """Draw the noise of one update from `generator`, on its device.

    latent: (S, K); steps T and rows B of the batch; horizon H and number N of imagination starts.
    """
    return Noise(
        gumbel_noise((steps, rows, *latent), generator),
        gumbel_noise((horizon, starts, *latent), generator),
        {field.name: action_noise(field, (horizon + 1, starts), generator) for field in fields},
    )


def action_noise(field: Field, lead: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(*lead, *shape) standard-normal or (*lead, *shape, classes) Gumbel noise for one action field."""
    if field.kind == "discrete":
        return gumbel_noise((*lead, *field.shape, field.classes), generator)
    return torch.randn((*lead, *field.shape), generator=generator, device=generator.device)


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Gumbel noise of any shape."""
    return gumbel(torch.rand(shape, generator=generator, device=generator.device))
