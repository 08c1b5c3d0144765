"""Dreams of World Models: many controllers act in M at once; what each earns there is its fitness (2018, section 4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robot_dreamer.behavior.evolution import LinearController
from robot_dreamer.world_model.layers import in_float32
from robot_dreamer.world_model.mdn import MDNRNN
from robot_dreamer.world_model.rssm import encode_action


class DreamStart(NamedTuple):
    """Where D dreams begin."""

    z: Tensor
    """(D, S)."""
    h: Tensor
    """(D, H) before the row."""
    c: Tensor
    """(D, H)."""
    restart: Tensor | None = None
    """(D): 1 where an episode begins, for a memory that has this input."""


class DreamNoise(NamedTuple):
    """All draws of D dreams of T steps; the same for every candidate, so that luck does not rank them."""

    uniform: Tensor
    """(T, D, S): which component of each mixture."""
    normal: Tensor
    """(T, D, S): where in it."""

    @staticmethod
    def draw(steps: int, dreams: int, latent: int, generator: torch.Generator) -> DreamNoise:
        """From `generator`, on its device."""
        shape, device = (steps, dreams, latent), generator.device
        uniform = torch.rand(shape, generator=generator, device=device)
        return DreamNoise(uniform, torch.randn(shape, generator=generator, device=device))


@torch.no_grad()
def dream_returns(
    memory: MDNRNN,
    controller: LinearController,
    candidates: Tensor,
    start: DreamStart,
    noise: DreamNoise,
    temperature: float,
) -> Tensor:
    """Sum of the rewards that P candidates (P, n) earn in D dreams: (P, D).

    A dream is over once M says done (logit above 0: a threshold holds better than a draw, section 4.3).
    """
    kernel, bias = controller.split(candidates)  # (P, F, O), (P, O)
    count, dreams = candidates.shape[0], start.z.shape[0]
    z, h, c = (value.repeat(count, 1) for value in start[:3])  # (P D, ...), candidate-major
    total = z.new_zeros(count * dreams)
    alive = torch.ones_like(total)
    restart = None
    if memory.has_restart:
        restart = torch.zeros_like(total) if start.restart is None else start.restart.repeat(count)
    for uniform, normal in zip(*noise, strict=True):
        reading = controller.reading(z, h, c).unflatten(0, (count, dreams))  # (P, D, F)
        outputs = in_float32(torch.baddbmm, bias.unsqueeze(1), reading, kernel)
        action = encode_action(controller.fields, controller.choose(outputs.flatten(0, 1)))
        h, c = memory.step(h, c, z, action, restart)
        row = memory.predict(h)
        if row.reward is None:
            raise ValueError("dreams need a memory that predicts the reward")
        # What M says behind the end counts for nothing, not even if it is no number.
        total = total + torch.where(alive > 0, row.reward, 0.0)
        if row.done_logit is not None:
            alive = alive * (row.done_logit <= 0)
        restart = None if restart is None else torch.zeros_like(restart)
        z = row.latent.sample(uniform.repeat(count, 1), normal.repeat(count, 1), temperature)
    return total.unflatten(0, (count, dreams))
