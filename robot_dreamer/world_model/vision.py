"""V of World Models: a variational autoencoder of single observations (Ha & Schmidhuber 2018, section 2.1).

    q(z | o) = N(mean(o), exp(log_var(o)))
    loss = sum of squared errors + max(KL(q || N(0, 1)), floor)           per row, the KL summed over the latents

Images pass the stack of 2018, as published. Vectors and classes, which the original did not have, pass an MLP; where a
robot has both, one code holds both. Nothing here knows of time: that is M's business (`mdn.py`). The decoder is
`Decoder64` on z.

Letters: N rows, S latents.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.coder64 import Encoder64
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.layers import GlorotLinear


class VisionEncoder(nn.Module):
    """Observations to the statistics of the code."""

    def __init__(self, fields: Sequence[Field], config: ModelConfig) -> None:
        super().__init__()
        self.trunk = Encoder64(fields, config)
        self.mean = GlorotLinear(self.trunk.tokens, config.stoch)
        self.log_var = GlorotLinear(self.trunk.tokens, config.stoch)
        self.tokens = 2 * config.stoch

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        """Raw observations (N, *shape) each -> (N, 2 S): means, then log-variances (`Numbers`, "log_variance")."""
        x = self.trunk(observation)
        return torch.cat((self.mean(x), self.log_var(x)), -1)


def kl_to_unit(statistics: Tensor) -> Tensor:
    """KL of the code (..., 2 S) to the unit normal distribution in nats, summed over the latents: (...)."""
    mean, log_var = statistics.float().chunk(2, -1)
    return -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(-1)


def vision_kl_loss(statistics: Tensor, floor: float) -> Tensor:
    """max(KL, floor) per row (...): below the floor a row gives the KL no gradient; published: S / 2."""
    return kl_to_unit(statistics).clamp(min=floor)
