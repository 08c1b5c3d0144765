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


def arrival_return(reward: Tensor, live: Tensor, bootstrap: Tensor, mix: float) -> Tensor:
    """Lambda-returns of T rows, T - 1 values, each with the reward of arriving at its own row (Dreamer V1, DreamerV2).

        R_t = r_t + live_t ((1 - mix) b_{t+1} + mix R_{t+1}),   R_{T-1} = b_{T-1}

    See `lambda_return`, whose returns begin with the reward after.
    """

    def later(x: Tensor) -> Tensor:
        return torch.cat((x[:, :1], x[:, :-1]), 1)

    return lambda_return(later(reward), later(live), bootstrap, mix)


class AdvantageScale(NamedTuple):
    """Moving mean and mean square of the advantages, without correction for their start at zero (DayDreamer)."""

    mean: Tensor
    """()."""
    square: Tensor
    """()."""
    steps: Tensor
    """() batches so far."""

    @staticmethod
    def initial(device: torch.device | None = None) -> AdvantageScale:
        """Before the first batch; float64, for the variance is a difference of nearly equal numbers."""
        zero = torch.zeros((), dtype=torch.float64, device=device)
        return AdvantageScale(zero, zero.clone(), zero.clone())

    def updated(self, advantage: Tensor, rate: float) -> AdvantageScale:
        """Moved towards a batch of advantages (any shape)."""
        x = advantage.detach().double()
        mean, square = torch.lerp(self.mean, x.mean(), rate), torch.lerp(self.square, x.square().mean(), rate)
        return AdvantageScale(mean, square, self.steps + 1)

    def normalise(self, advantage: Tensor, rate: float) -> Tensor:
        """Advantages less the mean, over the deviation; the gradient passes through the advantages alone."""
        bias = 1 - (1 - rate) ** self.steps
        mean = self.mean / bias
        deviation = (self.square / bias - mean.square()).clamp(min=1e-16).sqrt()
        return (advantage - mean.float()) * (1 / deviation).float()


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
