"""Observations to tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.distributions import one_hot, symlog
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.layers import ConvBlock, mlp

_SMALLEST_MAP, _LARGEST_MAP = 3, 16


class Encoder(nn.Module):
    """An MLP on all vectors and classes, a convolutional stack on all images; their outputs are the tokens.

    Fields are used in alphabetical order. Missing values: a vector with an entry of -inf and a discrete field with an
    entry of -1 enter as zeros.
    """

    def __init__(self, fields: Sequence[Field], config: ModelConfig) -> None:
        super().__init__()
        self.symlog = config.symlog_inputs
        self.flat_fields = [field for field in fields if field.kind != "image"]
        self.image_fields = [field for field in fields if field.kind == "image"]
        self.tokens = 0
        if self.flat_fields:
            inputs = sum(field.features for field in self.flat_fields)
            self.vector = mlp(config.encoder_layers, inputs, config.units)
            self.tokens += config.units
        if self.image_fields:
            height, width = smallest_map(self.image_fields, config)
            channels = [image_channels(self.image_fields), *(config.depth * m for m in config.multipliers)]
            self.image = nn.Sequential(
                *(ConvBlock(channels[i], channels[i + 1], config.kernel, pool=True) for i in range(len(channels) - 1))
            )
            self.tokens += height * width * channels[-1]
        if not self.tokens:
            raise ValueError("observation space: expected at least one field, found none")

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        """Dictionary of (N, *shape) -> tokens (N, E)."""
        outputs = []
        if self.flat_fields:
            flat = [flatten_field(field, observation[field.name], self.symlog) for field in self.flat_fields]
            outputs.append(self.vector(torch.cat(flat, -1)))
        if self.image_fields:
            # (N, H, W, C) -> (N, C, H, W), which stays channels-last in memory.
            images = torch.cat([observation[field.name] for field in self.image_fields], -1)
            x = self.image(images.permute(0, 3, 1, 2).float() / 255 - 0.5)
            # Flattened as height, width, channel.
            outputs.append(x.permute(0, 2, 3, 1).flatten(1))
        return torch.cat(outputs, -1)


def flatten_field(field: Field, value: Tensor, squash: bool) -> Tensor:
    """(N, *shape) of a vector or discrete field -> (N, features) floats; missing values give zeros, NaN stays NaN."""
    if field.kind == "discrete":
        value = value.reshape(value.shape[0], -1).long()
        present = (value >= 0).all(-1, keepdim=True)
        x = one_hot(value, field.classes).flatten(1)
    else:
        value = value.reshape(value.shape[0], -1).float()
        present = (value != -torch.inf).all(-1, keepdim=True)
        x = symlog(value) if squash else value
    return torch.where(present, x, 0.0)


def is_present(field: Field, value: Tensor) -> Tensor:
    """(N, *shape) -> (N) bool: whether a vector or discrete field carries a value."""
    flat = value.reshape(value.shape[0], -1)
    return (flat >= 0).all(-1) if field.kind == "discrete" else (flat != -torch.inf).all(-1)


def image_channels(fields: Sequence[Field]) -> int:
    """Channels of all images together."""
    return sum(field.shape[-1] for field in fields)


def smallest_map(fields: Sequence[Field], config: ModelConfig) -> tuple[int, int]:
    """Height and width of the last feature map; raises ValueError for images that the stages can not halve evenly."""
    factor = 2 ** len(config.multipliers)
    height, width, _ = fields[0].shape
    for field in fields:
        if field.shape[:2] != (height, width):
            raise ValueError(
                f"images {fields[0].name!r} and {field.name!r}: expected the same height and width, "
                f"found {(height, width)} and {field.shape[:2]}"
            )
    for side in (height, width):
        if side % factor or not _SMALLEST_MAP <= side // factor <= _LARGEST_MAP:
            raise ValueError(
                f"image {fields[0].name!r}: expected sides that are multiples of {factor} between "
                f"{factor * _SMALLEST_MAP} and {factor * _LARGEST_MAP}, found {(height, width)}"
            )
    return height // factor, width // factor
