"""What one update gives."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from robot_dreamer.world_model.rssm import Latents


class UpdateResult(NamedTuple):
    """What one update gives."""

    latents: Latents | None
    """Of rows 1 to T, deter (B, T, D) and stoch (B, T, *latent.shape), computed before the parameters changed. Worth
    nothing, and not to be stored, if the update was not applied. None if the update had no need of them."""
    applied: Tensor
    """() bool: whether all losses and gradients were finite; otherwise what was not changed nothing."""
    losses: dict[str, Tensor]
    """() by name."""
    metrics: dict[str, Tensor]
    """() by name."""

    def scalars(self) -> dict[str, Tensor]:
        """All numbers by the names under which they are logged."""
        losses = {f"loss/{name}": value for name, value in self.losses.items()}
        return losses | self.metrics | {"optimizer/applied": self.applied.float()}
