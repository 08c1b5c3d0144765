"""Encoder and decoder of the generations before DreamerV3: an MLP for vectors, the image stack of 2018 for pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.conv64 import Conv64Decoder, Conv64Encoder, PixelCode, pixels, require_64
from robot_dreamer.world_model.distributions import MSE, Categorical, HalfMSE, SymlogMSE
from robot_dreamer.world_model.encoder import flatten_field, is_present
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.layers import GlorotLinear, glorot_mlp
from robot_dreamer.world_model.readout import mean_observations


class Encoder64(nn.Module):
    """Observations to tokens: first those of the pictures, then those of the vectors.

    Fields are used in alphabetical order; missing values enter as zeros (see `Encoder`).
    """

    def __init__(self, fields: Sequence[Field], config: ModelConfig) -> None:
        super().__init__()
        self.code, self.symlog = config.pixel_code, config.symlog_inputs
        self.flat_fields = [field for field in fields if field.kind != "image"]
        self.image_fields = [field for field in fields if field.kind == "image"]
        self.tokens = 0
        if self.image_fields:
            channels = require_64(self.image_fields)
            self.image = Conv64Encoder(
                channels, config.depth, config.conv_activation, config.norm, spread=config.daydreamer_init
            )
            self.tokens += self.image.outputs
        if self.flat_fields:
            inputs = sum(field.features for field in self.flat_fields)
            widths = [config.units] * config.encoder_layers
            self.vector = glorot_mlp(inputs, widths, config.activation, config.norm)
            self.tokens += config.units
        if not self.tokens:
            raise ValueError("observation space: expected at least one field, found none")

    def forward(self, observation: dict[str, Tensor], pixel_noise: Tensor | None = None) -> Tensor:
        """Dictionary of (N, *shape) -> tokens (N, E); pixel_noise (N, 64, 64, channels): see `pixels`."""
        outputs = []
        if self.image_fields:
            images = torch.cat([observation[field.name] for field in self.image_fields], -1)
            outputs.append(self.image(pixels(images, self.code, pixel_noise)))
        if self.flat_fields:
            flat = [flatten_field(field, observation[field.name], self.symlog) for field in self.flat_fields]
            outputs.append(self.vector(torch.cat(flat, -1)))
        return torch.cat(outputs, -1)


class Decoder64(nn.Module):
    """Feature to predicted observations.

    Pictures are in the code that the encoder reads; but what goes through a sigmoid is in [0, 1], whatever that code.
    """

    def __init__(self, fields: Sequence[Field], inputs: int, config: ModelConfig) -> None:
        super().__init__()
        self.likelihood = config.likelihood
        self.code: PixelCode = config.pixel_code if config.likelihood == "normal" else "unit"
        self.flat_fields = [field for field in fields if field.kind != "image"]
        self.image_fields = [field for field in fields if field.kind == "image"]
        if self.image_fields:
            channels = require_64(self.image_fields)
            self.image = Conv64Decoder(
                inputs, channels, config.depth, config.conv_activation, config.norm, dense=not config.daydreamer_init
            )
        if self.flat_fields:
            widths = [config.units] * config.decoder_layers
            self.vector = glorot_mlp(inputs, widths, config.activation, config.norm)
            scale = 0.1 if config.daydreamer_init else 1.0
            self.vector_heads = nn.ModuleList(
                GlorotLinear(config.units, field.features, scale) for field in self.flat_fields
            )

    def forward(self, feature: Tensor) -> dict[str, HalfMSE | MSE | SymlogMSE | Categorical]:
        """feature (N, F) -> distribution of each field over (N, *shape)."""
        halved = self.likelihood == "normal"
        squared = HalfMSE if halved else MSE
        number = SymlogMSE if self.likelihood == "symlog_squares" else squared
        outputs: dict[str, HalfMSE | MSE | SymlogMSE | Categorical] = {}
        if self.flat_fields:
            hidden = self.vector(feature)
            for field, head in zip(self.flat_fields, self.vector_heads, strict=True):
                output = head(hidden)
                if field.kind == "discrete":
                    outputs[field.name] = Categorical(output.view(-1, *field.shape, field.classes))
                else:
                    outputs[field.name] = number(output.view(-1, *field.shape))
        if self.image_fields:
            picture = self.image(feature)
            picture = picture if halved else torch.sigmoid(picture)
            parts = torch.split(picture, [field.shape[-1] for field in self.image_fields], -1)
            outputs |= {field.name: squared(part) for field, part in zip(self.image_fields, parts, strict=True)}
        return outputs

    def means(self, feature: Tensor) -> dict[str, Tensor]:
        """feature (N, F) -> observations (N, *shape) in the units of the sensors, see `Readout`."""
        return mean_observations(self(feature), self.image_fields, offset=0.0 if self.code == "unit" else 0.5)

    def losses(
        self, feature: Tensor, observation: dict[str, Tensor], pixel_noise: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Reconstruction loss (N) of each field, summed over its entries; 0 where the value is missing.

        pixel_noise (N, 64, 64, channels): the same as the encoder's.
        """
        outputs, losses = self(feature), {}
        for field in self.flat_fields:
            target = observation[field.name]
            present = is_present(field, target)
            expanded = present.view(-1, *(1,) * len(field.shape))
            loss = outputs[field.name].loss(torch.where(expanded, target, 0))
            losses[field.name] = torch.where(present, loss.reshape(loss.shape[0], -1).sum(-1), 0.0)
        if self.image_fields:
            images = torch.cat([observation[field.name] for field in self.image_fields], -1)
            channels = [field.shape[-1] for field in self.image_fields]
            targets = torch.split(pixels(images, self.code, pixel_noise), channels, -1)
            for field, target in zip(self.image_fields, targets, strict=True):
                losses[field.name] = outputs[field.name].loss(target).flatten(1).sum(-1)
        return losses
