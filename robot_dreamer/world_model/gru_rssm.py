"""The RSSM of PlaNet, Dreamer V1, DreamerV2 and DayDreamer: one layer in front of a gated recurrent unit.

    x   = act(dense([z_{t-1}, a_{t-1}]))
    h_t = gru(x, h_{t-1})                                see `gru_cells.py`
    prior     p(z_t | h_t)      from act(dense(h_t)), `prior_layers` of them
    posterior q(z_t | h_t, o_t) from act(dense([h_t, tokens_t])), `posterior_layers` of them

The prior reads h_t, as in PlaNet's final version; its first release read x, and so ignored the memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.gru_cells import gru_cell
from robot_dreamer.world_model.latent import latent_size, latent_space
from robot_dreamer.world_model.layers import GlorotLinear, glorot_mlp
from robot_dreamer.world_model.rssm import RSSM, Latents


class GRURSSM(RSSM):
    """Filters by the plain loop of `RSSM.observe`."""

    def __init__(self, actions: int, tokens: int, config: ModelConfig) -> None:
        super().__init__(config.deter, latent_space(config))
        deter, hidden, act, norm = config.deter, config.hidden, config.activation, config.norm
        statistics = 1
        for size in self.latent.statistics:
            statistics *= size
        self.img_in = glorot_mlp(latent_size(self.latent) + actions, [hidden], act, norm)
        self.cell = gru_cell(config.cell, hidden, deter)
        self.prior = glorot_mlp(deter, [hidden] * config.prior_layers, act, norm)
        self.prior_out = GlorotLinear(hidden, statistics)
        self.posterior = glorot_mlp(deter + tokens, [hidden] * config.posterior_layers, act, norm)
        self.posterior_out = GlorotLinear(hidden, statistics)
        self.start = nn.Parameter(torch.zeros(deter)) if config.learned_start else None

    def step(self, deter: Tensor, stoch: Tensor, action: Tensor, prepared: Any = None) -> Tensor:
        """See `RSSM.step`."""
        next_deter: Tensor = self.cell(self.img_in(torch.cat((stoch.flatten(1), action), -1)), deter)
        return next_deter

    def prior_statistics(self, deter: Tensor) -> Tensor:
        """See `RSSM.prior_statistics`."""
        return self.prior_out(self.prior(deter)).unflatten(-1, self.latent.statistics)

    def posterior_statistics(self, deter: Tensor, tokens: Tensor) -> Tensor:
        """See `RSSM.posterior_statistics`."""
        return self.posterior_out(self.posterior(torch.cat((deter, tokens), -1))).unflatten(-1, self.latent.statistics)

    def initial(self, rows: int) -> Latents:
        """Zeros; or where it is learned, tanh of the parameter and the mode of the prior there (DayDreamer)."""
        if self.start is None:
            return super().initial(rows)
        deter = torch.tanh(self.start).expand(rows, -1)
        statistics = self.prior_statistics(deter)
        mode = self.latent.draw(statistics.detach(), torch.zeros(rows, *self.latent.shape, device=deter.device))
        return Latents(deter, mode)

    def reset(self, state: Latents, keep: Tensor) -> Latents:
        """See `RSSM.reset`."""
        kept = super().reset(state, keep)
        if self.start is None:
            return kept
        first = super().reset(self.initial(state.deter.shape[0]), 1 - keep)
        return Latents(kept.deter + first.deter, kept.stoch + first.stoch)
