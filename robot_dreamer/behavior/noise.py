"""All random numbers of one update, drawn at once and handed in as an argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from robot_dreamer.world_model.distributions import gumbel
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.latent import LatentSpace


class NoisePort(NamedTuple):
    """Noise that an acting step takes as an input."""

    name: str
    """Of the input."""
    role: Literal["latent_noise", "action_noise", "plan_noise"]
    """A deterministic policy zeroes action noise, never the other kinds."""
    key: str
    """The action's name for action noise; otherwise free."""
    shape: tuple[int, ...]
    """Of one robot's noise."""
    distribution: Literal["gumbel", "normal"]
    draws: str = ""
    """The state or action whose class this noise draws; empty if it draws none."""


class UpdateNoise(NamedTuple):
    """Noise of one update; zeros give the most likely classes and the mean actions."""

    observe: Tensor
    """(T, B, *latent.shape) noise of the posterior draws, Gumbel for classes, standard-normal for numbers."""
    imagine: Tensor
    """(H, N, *latent.shape) noise of the imagined draws; N imagination starts."""
    action: dict[str, Tensor]
    """Standard-normal (H+1, N, *shape) for a continuous action, Gumbel (H+1, N, *shape, classes) for a discrete one."""
    other: dict[str, Tensor] = {}
    """What only one generation draws, by name; its objective says what it is."""


def draw_noise(
    fields: Sequence[Field],
    latent: LatentSpace,
    steps: int,
    rows: int,
    horizon: int,
    starts: int,
    generator: torch.Generator,
) -> UpdateNoise:
    """Draw the noise of one update from `generator`, on its device.

    latent: of the model; steps T and rows B of the batch; horizon H and number N of imagination starts.
    """
    return UpdateNoise(
        latent_noise(latent, (steps, rows), generator),
        latent_noise(latent, (horizon, starts), generator),
        {field.name: action_noise(field, (horizon + 1, starts), generator) for field in fields},
    )


def latent_noise(latent: LatentSpace, lead: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(*lead, *latent.shape) noise of the kind that the latents are drawn with."""
    if latent.noise == "gumbel":
        return gumbel_noise((*lead, *latent.shape), generator)
    return torch.randn((*lead, *latent.shape), generator=generator, device=generator.device)


def action_noise(field: Field, lead: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(*lead, *shape) standard-normal or (*lead, *shape, classes) Gumbel noise for one action field."""
    if field.kind == "discrete":
        return gumbel_noise((*lead, *field.shape, field.classes), generator)
    return torch.randn((*lead, *field.shape), generator=generator, device=generator.device)


def draw_port(port: NoisePort, rows: int, generator: torch.Generator) -> Tensor:
    """(rows, *shape) noise for an input of an acting step."""
    shape = (rows, *port.shape)
    if port.distribution == "gumbel":
        return gumbel_noise(shape, generator)
    return torch.randn(shape, generator=generator, device=generator.device)


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Gumbel noise of any shape."""
    return gumbel(torch.rand(shape, generator=generator, device=generator.device))
