"""A slow copy of a network follows it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def move_towards(slow: nn.Module, fast: nn.Module, rate: Tensor) -> None:
    """slow = (1 - rate) slow + rate fast, parameter by parameter; rate: (), 1 copies, 0 leaves it as it is."""
    # Weighted like this, and not moved by a part of the difference, it rounds as the published code does.
    own: list[Tensor] = list(slow.parameters())
    torch._foreach_mul_(own, 1 - rate)
    torch._foreach_add_(own, torch._foreach_mul(list(fast.parameters()), rate))
