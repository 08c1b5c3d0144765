"""Heads on the feature (deter, stoch): reward and critic as two-hot, continue as Bernoulli."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.distributions import Binary, HalfMSE, TwoHot, symexp_bins
from robot_dreamer.world_model.layers import GlorotLinear, Linear, glorot_mlp, mlp


class TwoHotHead(nn.Module):
    """MLP with a two-hot output over symexp-spaced bins."""

    bins: Tensor

    def __init__(self, inputs: int, layers: int, config: ModelConfig, outscale: float) -> None:
        super().__init__()
        self.trunk = mlp(layers, inputs, config.units)
        self.out = Linear(config.units, config.bins, outscale)
        self.register_buffer("bins", symexp_bins(config.bins), persistent=False)

    def forward(self, feature: Tensor) -> TwoHot:
        """(..., F) -> distribution over (...)."""
        return TwoHot(self.out(self.trunk(feature)), self.bins)


class BinaryHead(nn.Module):
    """MLP with one logit."""

    def __init__(self, inputs: int, layers: int, units: int) -> None:
        super().__init__()
        self.trunk = mlp(layers, inputs, units)
        self.out = Linear(units, 1)

    def forward(self, feature: Tensor) -> Binary:
        """(..., F) -> distribution over (...)."""
        return Binary(self.out(self.trunk(feature)).squeeze(-1))


class NumberHead(nn.Module):
    """MLP with the mean of a unit normal: reward and value of the generations before DayDreamer."""

    def __init__(self, inputs: int, widths: Sequence[int], activation: str, norm: bool = False) -> None:
        super().__init__()
        self.trunk = glorot_mlp(inputs, widths, activation, norm)
        self.out = GlorotLinear(widths[-1], 1)

    def forward(self, feature: Tensor) -> HalfMSE:
        """(..., F) -> distribution over (...)."""
        return HalfMSE(self.out(self.trunk(feature)).squeeze(-1))
