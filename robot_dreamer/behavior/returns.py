"""Lambda-returns and their normalisation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robot_dreamer.config import BehaviorConfig


def lambda_return(reward: Tensor, live: Tensor, bootstrap: Tensor, mix: Tensor | float) -> Tensor:
    """Lambda-returns of T rows, T - 1 values.

        R_t = r_{t+1} + live_{t+1} ((1 - mix_{t+1}) b_{t+1} + mix_{t+1} R_{t+1}),   R_{T-1} = b_{T-1}

    reward, live (discount, 0 where nothing follows) and bootstrap: (N, T); mix: lambda as a number, or (N, T) where
    the trace is cut at the end of an episode.
    """
    fixed = (reward + live * (1 - mix) * bootstrap)[:, 1:].unbind(1)
    carried = (live * mix)[:, 1:].unbind(1)
    value = bootstrap[:, -1]
    returns = []
    for t in reversed(range(len(fixed))):
        value = torch.addcmul(fixed[t], carried[t], value)
        returns.append(value)
    return torch.stack(returns[::-1], 1)


def percentile(x: Tensor, percent: float) -> Tensor:
    """The percentile () of x (n), linear between neighbours; selects, which is much faster than to sort."""
    position = percent / 100 * (x.numel() - 1)
    below = int(position)
    low = torch.kthvalue(x, below + 1).values
    if below == position:
        return low
    return torch.lerp(low, torch.kthvalue(x, below + 2).values, position - below)


class ReturnRange(NamedTuple):
    """Moving percentiles of the returns, both ()."""

    low: Tensor
    high: Tensor

    @staticmethod
    def initial(device: torch.device | None = None) -> ReturnRange:
        """Zeros; there is no bias correction."""
        return ReturnRange(torch.zeros((), device=device), torch.zeros((), device=device))

    def updated(self, returns: Tensor, config: BehaviorConfig) -> ReturnRange:
        """The percentiles moved towards those of a batch of returns (any shape)."""
        flat = returns.detach().float().flatten()
        low, high = (percentile(flat, p) for p in (config.return_percentile_low, config.return_percentile_high))
        return ReturnRange(
            (1 - config.return_rate) * self.low + config.return_rate * low,
            (1 - config.return_rate) * self.high + config.return_rate * high,
        )

    def scale(self, limit: float) -> Tensor:
        """Width of the range, at least `limit`."""
        return (self.high - self.low).clamp(min=limit)
