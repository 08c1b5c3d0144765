"""What one update trains on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """B windows of T + 1 consecutive rows of experience; row 0 is the replay context and is not trained on.

    Row t holds the observation, the reward that arrived with it and the action executed after it.
    """

    observation: dict[str, Tensor]
    """(B, T+1, *shape) each, in the dtype of the sensor (images stay uint8)."""
    action: dict[str, Tensor]
    """(B, T+1, *shape) each: float in [-1, 1] or integer class."""
    reward: Tensor
    """(B, T+1) float."""
    is_first: Tensor
    """(B, T+1) bool: the row begins an episode."""
    is_last: Tensor
    """(B, T+1) bool: the row ends an episode, for whatever reason."""
    is_terminal: Tensor
    """(B, T+1) bool: the row ends an episode and nothing can follow (a time limit is not terminal)."""
    deter: Tensor
    """(B, D) stored deterministic state of row 0."""
    stoch: Tensor
    """(B, *latent.shape) stored latent of row 0."""
    demonstrated: Tensor
    """(B, T+1) bool: a person gave the action."""


def batch_to(batch: Batch, device: torch.device) -> Batch:
    """The same batch on another device."""

    def move(value: Tensor | dict[str, Tensor]) -> Tensor | dict[str, Tensor]:
        if isinstance(value, dict):
            return {name: tensor.to(device, non_blocking=True) for name, tensor in value.items()}
        return value.to(device, non_blocking=True)

    return Batch(*map(move, batch))  # type: ignore[arg-type]
