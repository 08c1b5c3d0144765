"""The image stack of 2018: 64x64 pixels to one flat vector with four convolutions, and back with four transposed ones.

    encoder   64 -> 31 -> 14 -> 6 -> 2      kernel 4, stride 2, no padding; depth * (1, 2, 4, 8) channels
    decoder   1 -> 5 -> 13 -> 30 -> 64      kernels 5, 5, 6, 6, stride 2, no padding; depth * (4, 2, 1), then colours

World Models (V), PlaNet, Dreamer V1, DreamerV2 and DayDreamer share it (Ha & Schmidhuber 2018, appendix A.1):

    | generation    | depth | activation | layer norm | dense layer before the decoder | pixels    | output  |
    | World Models  | 32    | relu       | no         | yes                            | unit      | sigmoid |
    | PlaNet        | 32    | relu       | no         | yes                            | five_bit  | linear  |
    | Dreamer V1    | 32    | relu       | no         | yes                            | centered  | linear  |
    | DreamerV2     | 48    | elu        | no         | yes                            | centered  | linear  |
    | DayDreamer    | 64    | elu        | yes        | no                             | unit      | sigmoid |

Images are channels-last at the doors; a map is flattened as height, width, channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.layers import ACTIVATIONS, GlorotLinear, LayerNorm, glorot_uniform

SIDE = 64
_ENCODER_KERNELS = (4, 4, 4, 4)
_DECODER_KERNELS = (5, 5, 6, 6)
_STRIDE = 2

PixelCode = Literal["unit", "centered", "five_bit"]


def pixels(images: Tensor, code: PixelCode, noise: Tensor | None = None) -> Tensor:
    """Bytes to numbers, of any shape.

    unit: x / 255. centered: x / 255 - 0.5. five_bit: floor(x / 8) / 32 + u / 32 - 0.5 (PlaNet, from Glow): the three
    lowest bits give way to noise u of the same shape, uniform in [0, 1); without noise to its mean, one half.
    """
    x = images.float()
    if code == "five_bit":
        return torch.floor(x / 8) / 32 + (0.5 if noise is None else noise) / 32 - 0.5
    return x / 255 if code == "unit" else x / 255 - 0.5


def require_64(fields: Sequence[Field]) -> int:
    """Channels of all images together; raises ValueError for an image of another size."""
    for field in fields:
        if field.shape[:2] != (SIDE, SIDE):
            raise ValueError(
                f"image {field.name!r}: the image stack of this generation expects {SIDE}x{SIDE} pixels, found "
                f"{field.shape[0]}x{field.shape[1]}; let the robot's spec scale the image, or use dreamer_v3"
            )
    return sum(field.shape[-1] for field in fields)


class Conv64Encoder(nn.Module):
    """Images to a flat vector of 32 * depth numbers.

    Args:
      channels: of all images together.
      depth: channels of the first layer.
      activation: a name in `layers.ACTIVATIONS`.
      norm: layer norm over the channels in front of each activation.
      spread: initial kernels as DayDreamer has them: its bound ignores the area of the kernel.
    """

    def __init__(self, channels: int, depth: int, activation: str, norm: bool = False, spread: bool = False) -> None:
        super().__init__()
        sizes = [channels, *(depth * m for m in (1, 2, 4, 8))]
        self.layers = nn.ModuleList(
            _Conv(sizes[i], sizes[i + 1], kernel, activation, norm, spread=spread)
            for i, kernel in enumerate(_ENCODER_KERNELS)
        )
        self.outputs = 4 * sizes[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Pixels as numbers (N, 64, 64, channels) -> (N, 32 * depth)."""
        x = x.permute(0, 3, 1, 2)  # (N, C, 64, 64), channels-last in memory
        for layer in self.layers:
            x = layer(x)
        return x.permute(0, 2, 3, 1).flatten(1)


class Conv64Decoder(nn.Module):
    """A flat vector to images: an optional linear layer to 32 * depth numbers, then the transposed convolutions.

    Args:
      inputs: size of the vector.
      channels, depth, activation, norm: as of the encoder.
      dense: the linear layer; without it the vector itself is the first map, one pixel large.
    """

    def __init__(
        self, inputs: int, channels: int, depth: int, activation: str, norm: bool = False, dense: bool = True
    ) -> None:
        super().__init__()
        self.dense = GlorotLinear(inputs, 32 * depth) if dense else None
        sizes = [32 * depth if dense else inputs, *(depth * m for m in (4, 2, 1))]
        *kernels, last = _DECODER_KERNELS
        self.layers = nn.ModuleList(
            _Conv(sizes[i], sizes[i + 1], kernel, activation, norm, transposed=True) for i, kernel in enumerate(kernels)
        )
        self.out = _Conv(depth, channels, last, "none", transposed=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) -> (N, 64, 64, channels), linear: the caller's likelihood says what the numbers mean."""
        if self.dense is not None:
            x = self.dense(x)
        x = x.unflatten(1, (-1, 1, 1))
        for layer in self.layers:
            x = layer(x)
        return self.out(x).permute(0, 2, 3, 1)


class _Conv(nn.Module):
    """Convolution or transposed convolution with stride 2 and no padding, optional layer norm, activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        activation: str,
        norm: bool = False,
        transposed: bool = False,
        spread: bool = False,
    ) -> None:
        super().__init__()
        self.transposed, self.activation = transposed, ACTIVATIONS[activation]
        # Torch's order: outputs first in a convolution, inputs first in a transposed one.
        sides = (inputs, outputs) if transposed else (outputs, inputs)
        area = 1 if spread else kernel * kernel
        self.kernel = nn.Parameter(glorot_uniform((*sides, kernel, kernel), area * inputs, area * outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.norm = LayerNorm(outputs) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) -> (N, outputs, h', w'); h' is (h - kernel) / 2 + 1, transposed 2 (h - 1) + kernel."""
        if self.transposed and x.shape[2:] == (1, 1):
            x = self._from_one_pixel(x)
        else:
            convolve = functional.conv_transpose2d if self.transposed else functional.conv2d
            x = convolve(x, self.kernel, self.bias, stride=_STRIDE)
        if self.norm is not None:
            x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.activation(x)

    def _from_one_pixel(self, x: Tensor) -> Tensor:
        """The transposed convolution of a map of one pixel (N, inputs, 1, 1): a matrix product.

        On a CPU torch's kernel for any map takes five to ten times as long, with its derivative; and what follows is
        faster with channels-last maps.
        """
        outputs, *sides = self.kernel.shape[1:]
        bias = self.bias.repeat_interleave(sides[0] * sides[1])
        maps = torch.addmm(bias, x.flatten(1), self.kernel.flatten(1)).unflatten(1, (outputs, *sides))
        return maps.contiguous(memory_format=torch.channels_last)
