"""The world model of PlaNet, Dreamer V1, DreamerV2 and DayDreamer: encoder, RSSM, decoder, heads."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.coder64 import Decoder64, Encoder64
from robot_dreamer.world_model.distributions import Binary
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.gru_rssm import GRURSSM
from robot_dreamer.world_model.heads import NumberHead, value_head
from robot_dreamer.world_model.latent import latent_size
from robot_dreamer.world_model.readout import Readout
from robot_dreamer.world_model.rssm import Latents, feature_of


class WorldModel64(nn.Module):
    """What the robot experiences, as a model that can be filtered and rolled out; images have 64x64 pixels."""

    def __init__(self, observations: Sequence[Field], actions: Sequence[Field], config: ModelConfig) -> None:
        super().__init__()
        self.encoder = Encoder64(observations, config)
        self.rssm = GRURSSM(sum(field.features for field in actions), self.encoder.tokens, config)
        self.feature_size = self.rssm.deter + latent_size(self.rssm.latent)
        self.decoder = Decoder64(observations, self.feature_size, config)
        self.reward = value_head(self.feature_size, config.reward_layers, config, config.reward_units)
        widths, outscale = [config.units] * config.continue_layers, 0.1 if config.daydreamer_init else 1.0
        self.continuation = (
            NumberHead(self.feature_size, widths, config.activation, config.norm, outscale, Binary)
            if config.continue_head
            else None
        )

    def readout(self, state: Latents) -> Readout:
        """Of states (N, ...)."""
        feature = feature_of(*state)
        live = None if self.continuation is None else self.continuation(feature).mean
        return Readout(self.decoder.means(feature), self.reward(feature).mean, live)
