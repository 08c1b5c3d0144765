"""Latent state to predicted observations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.distributions import MSE, Categorical, SymlogMSE
from robot_dreamer.world_model.encoder import image_channels, is_present, smallest_map
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.latent import latent_size, latent_space
from robot_dreamer.world_model.layers import BlockLinear, Conv, ConvBlock, Dense, Linear, channel_norm_silu, mlp


class Decoder(nn.Module):
    """An MLP with one linear head per vector or discrete field, and a convolutional stack for all images.

    Fields, and the channels of several images, are in alphabetical order.
    """

    def __init__(self, fields: Sequence[Field], config: ModelConfig) -> None:
        super().__init__()
        self.flat_fields = [field for field in fields if field.kind != "image"]
        self.image_fields = [field for field in fields if field.kind == "image"]
        if self.flat_fields:
            inputs = latent_size(latent_space(config)) + config.deter
            self.vector = mlp(config.decoder_layers, inputs, config.units)
            # A list, because a field may carry any name, also one that a module dictionary refuses.
            self.vector_heads = nn.ModuleList(Linear(config.units, field.features) for field in self.flat_fields)
        if self.image_fields:
            self.image = ImageDecoder(self.image_fields, config)

    def forward(self, deter: Tensor, stoch: Tensor) -> dict[str, SymlogMSE | Categorical | MSE]:
        """deter (N, D), stoch (N, *latent.shape) -> distribution of each field over (N, *shape)."""
        outputs: dict[str, SymlogMSE | Categorical | MSE] = {}
        if self.flat_fields:
            hidden = self.vector(torch.cat((stoch.flatten(1), deter), -1))
            for field, head in zip(self.flat_fields, self.vector_heads, strict=True):
                output = head(hidden)
                if field.kind == "discrete":
                    outputs[field.name] = Categorical(output.view(-1, *field.shape, field.classes))
                else:
                    outputs[field.name] = SymlogMSE(output.view(-1, *field.shape))
        if self.image_fields:
            outputs.update(self.image(deter, stoch))
        return outputs

    def losses(self, deter: Tensor, stoch: Tensor, observation: dict[str, Tensor]) -> dict[str, Tensor]:
        """Reconstruction loss (N) of each field, summed over its entries; 0 where the value is missing."""
        outputs = self(deter, stoch)
        losses = {}
        for field in self.flat_fields:
            target = observation[field.name]
            present = is_present(field, target)
            expanded = present.view(-1, *(1,) * len(field.shape))
            loss = outputs[field.name].loss(torch.where(expanded, target, 0))
            losses[field.name] = torch.where(present, loss.reshape(loss.shape[0], -1).sum(-1), 0.0)
        for field in self.image_fields:
            losses[field.name] = outputs[field.name].loss(observation[field.name].float() / 255).flatten(1).sum(-1)
        return losses


class ImageDecoder(nn.Module):
    """A feature map from the state, then stages of nearest-neighbour doubling and convolution."""

    def __init__(self, fields: Sequence[Field], config: ModelConfig) -> None:
        super().__init__()
        self.fields = list(fields)
        self.map = smallest_map(fields, config)
        channels = [config.depth * m for m in reversed(config.multipliers)]
        size = math.prod(self.map) * channels[0]
        self.blocks = config.decoder_blocks
        if channels[0] % self.blocks:
            raise ValueError(
                f"model.depth: {config.depth} x {config.multipliers[-1]} channels of the smallest map must be a "
                f"multiple of model.decoder_blocks = {self.blocks}"
            )
        self.deter = BlockLinear(config.deter, size, self.blocks)
        self.stoch = nn.Sequential(
            Dense(latent_size(latent_space(config)), 2 * config.units), Linear(2 * config.units, size)
        )
        self.scale = nn.Parameter(torch.ones(channels[0]))
        self.stages = nn.Sequential(
            *(ConvBlock(channels[i], channels[i + 1], config.kernel, pool=False) for i in range(len(channels) - 1))
        )
        self.out = Conv(channels[-1], image_channels(fields), config.kernel)

    def forward(self, deter: Tensor, stoch: Tensor) -> dict[str, MSE]:
        """deter (N, D), stoch (N, *latent.shape) -> images (N, height, width, channels) in [0, 1]."""
        height, width = self.map
        # Each block of the state gives a slice of the channels of every pixel: (N, G, h, w, c / G) -> (N, h, w, c).
        from_deter = self.deter(deter).view(-1, self.blocks, height, width, self.scale.shape[0] // self.blocks)
        from_deter = from_deter.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)  # (N, c, h, w)
        from_stoch = self.stoch(stoch.flatten(1)).view(-1, height, width, self.scale.shape[0]).permute(0, 3, 1, 2)
        x = channel_norm_silu(from_deter + from_stoch, self.scale)
        for stage in self.stages:
            x = stage(_double(x))
        x = torch.sigmoid(self.out(_double(x)).float()).permute(0, 2, 3, 1)  # (N, H, W, C)
        parts = torch.split(x, [field.shape[-1] for field in self.fields], -1)
        return {field.name: MSE(part) for field, part in zip(self.fields, parts, strict=True)}


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
