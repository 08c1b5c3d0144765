"""V and M of World Models as one world model: what is seen, and what is to be expected."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.coder64 import Decoder64
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.mdn import MDNRNN, MemoryRSSM
from robot_dreamer.world_model.readout import Readout
from robot_dreamer.world_model.rssm import Latents
from robot_dreamer.world_model.vision import VisionEncoder


class VisionMemory(nn.Module):
    """Encoder and decoder are V, the RSSM is M."""

    def __init__(self, observations: Sequence[Field], actions: Sequence[Field], config: ModelConfig) -> None:
        super().__init__()
        self.encoder = VisionEncoder(observations, config)
        self.decoder = Decoder64(observations, config.stoch, config)
        self.rssm = MemoryRSSM(sum(field.features for field in actions), config)

    def readout(self, state: Latents) -> Readout:
        """Of states (N, ...): V shows z; reward and end are what M expected of the row."""
        expected = self.rssm.predict(state.deter)
        live = None if expected.done_logit is None else torch.sigmoid(-expected.done_logit)
        return Readout(self.decoder.means(state.stoch), expected.reward, live)


class ActingCopy(nn.Module):
    """V's encoder and M as they were when the controller that acts was evolved; they are not trained."""

    def __init__(self, world: VisionMemory) -> None:
        super().__init__()
        self.encoder, self.rssm = copy.deepcopy(world.encoder), copy.deepcopy(world.rssm)
        self.requires_grad_(False)

    @torch.no_grad()
    def take(self, world: VisionMemory) -> None:
        """Become as `world` is now."""
        for ours, theirs in ((self.encoder, world.encoder), (self.rssm, world.rssm)):
            for old, new in zip(ours.parameters(), theirs.parameters(), strict=True):
                old.copy_(new)


class Mean(NamedTuple):
    """A prediction without a distribution."""

    mean: Tensor
    """(...)."""


class RewardOutput(nn.Module):
    """The reward that M expected for a row, as a head on its feature.

    It has no parameters of its own, and does not list M's as its own: an export traces each parameter once.
    """

    def __init__(self, memory: MDNRNN) -> None:
        super().__init__()
        self._memory = (memory,)

    def forward(self, feature: Tensor) -> Mean:
        """feature (..., F), h first -> reward (...)."""
        memory, *_ = self._memory
        reward = memory.predict(feature[..., : memory.units]).reward
        if reward is None:
            raise ValueError("this memory predicts no reward")
        return Mean(reward)
