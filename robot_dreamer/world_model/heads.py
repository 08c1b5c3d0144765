"""Heads on the feature (deter, stoch): reward and critic as two-hot, continue as Bernoulli."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.distributions import Binary, HalfMSE, SymlogMSE, TwoHot, symexp_bins
from robot_dreamer.world_model.layers import GlorotLinear, Linear, glorot_mlp, in_float32, mlp


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
    """MLP with one number: reward, value and continue head of the generations before DreamerV3.

    output: what the number is: the mean of a unit normal (`HalfMSE`), a prediction in symlog space (`SymlogMSE`:
    DayDreamer), the logit of a yes (`Binary`: the continue head).
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        activation: str,
        norm: bool = False,
        outscale: float = 1.0,
        output: type[HalfMSE] | type[SymlogMSE] | type[Binary] = HalfMSE,
    ) -> None:
        super().__init__()
        self.trunk = glorot_mlp(inputs, widths, activation, norm)
        self.out = GlorotLinear(widths[-1], 1, outscale)
        self.output = output

    def forward(self, feature: Tensor) -> HalfMSE | SymlogMSE | Binary:
        """(..., F) -> distribution over (...)."""
        return self.output(in_float32(self.out, self.trunk(feature)).squeeze(-1))


def value_head(inputs: int, layers: int, config: ModelConfig, units: int = 0) -> NumberHead:
    """Reward or value as the likelihood of the configuration has it; units: width, 0 for that of all heads."""
    output = HalfMSE if config.likelihood == "normal" else SymlogMSE
    widths, outscale = [units or config.units] * layers, 0.1 if config.daydreamer_init else 1.0
    return NumberHead(inputs, widths, config.activation, config.norm, outscale, output)
