"""The world model as one module: encoder, RSSM, decoder, reward and continue head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.block_rssm import BlockRSSM
from robot_dreamer.world_model.decoder import Decoder
from robot_dreamer.world_model.encoder import Encoder
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.heads import BinaryHead, TwoHotHead
from robot_dreamer.world_model.latent import latent_size
from robot_dreamer.world_model.readout import Readout, mean_observations
from robot_dreamer.world_model.rssm import RSSM, Latents, feature_of

RSSMS: dict[str, Callable[[int, int, ModelConfig], RSSM]] = {"block": BlockRSSM}
"""By `model.cell`: (action features, tokens, configuration) -> RSSM."""


class WorldModel(nn.Module):
    """What the robot experiences, as a model that can be filtered and rolled out."""

    def __init__(
        self, observations: Sequence[Field], actions: Sequence[Field], config: ModelConfig, reward_outscale: float
    ) -> None:
        super().__init__()
        self.encoder = Encoder(observations, config)
        self.rssm: RSSM = RSSMS[config.cell](sum(field.features for field in actions), self.encoder.tokens, config)
        self.feature_size = self.rssm.deter + latent_size(self.rssm.latent)
        self.decoder = Decoder(observations, config)
        self.reward = TwoHotHead(self.feature_size, config.reward_layers, config, reward_outscale)
        self.continuation = BinaryHead(self.feature_size, config.continue_layers, config.units)

    def readout(self, state: Latents) -> Readout:
        """Of states (N, ...)."""
        feature = feature_of(*state)
        seen = mean_observations(self.decoder(*state), self.decoder.image_fields)
        return Readout(seen, self.reward(feature).mean, self.continuation(feature).mean)
