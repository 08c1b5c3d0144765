"""Linear, block-linear and convolutional layers with RMS norm and SiLU, initialised as in DreamerV3.

Beside them what the older generations need: layer norm, other activations, TensorFlow's initial kernels.

Kernels are kept as (in, out), block kernels as (blocks, in / blocks, out / blocks): they enter the products as they
are, so that neither the training graph nor an exported one contains a transposed weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robot_dreamer.world_model.fast.rms_norm import norm_silu

# Standard deviation of a unit normal after cutting it at two standard deviations.
_TRUNCATED_STD = 0.87962566103423978

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": functional.relu,
    "elu": functional.elu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}


def truncated_normal(shape: tuple[int, ...], fan_in: int, outscale: float) -> Tensor:
    """Normal numbers cut at two standard deviations, with a standard deviation of outscale / sqrt(fan_in)."""
    std = outscale / (fan_in**0.5 * _TRUNCATED_STD)
    # trunc_normal_ cuts at absolute values, and a std of zero has no distribution.
    return nn.init.trunc_normal_(torch.empty(shape), std=1.0, a=-2.0, b=2.0) * std


def glorot_uniform(shape: tuple[int, ...], fan_in: int, fan_out: int, outscale: float = 1.0) -> Tensor:
    """Uniform within +- sqrt(6 outscale / (fan_in + fan_out)): TensorFlow's initial kernels (Glorot & Bengio 2010).

    DayDreamer's rule is the same, with an outscale; note that it stands inside the root, unlike DreamerV3's.
    """
    bound = math.sqrt(6 * outscale / (fan_in + fan_out))
    return nn.init.uniform_(torch.empty(shape), -bound, bound)


def in_float32(product: Callable[..., Tensor], *factors: Tensor) -> Tensor:
    """product(*factors) in float32, where autocast would round it: for numbers that are added up or compared.

    bfloat16 has eight binary digits: rewards, values and returns of 300 would come in steps of two.
    """
    device = factors[0].device.type
    if not torch.is_autocast_enabled(device):
        return product(*factors)
    with torch.autocast(device, enabled=False):
        return product(*(factor.float() for factor in factors))


class LayerNorm(nn.Module):
    """Layer norm over the last axis, with scale and bias; epsilon as Keras has it, a hundred times torch's."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """(..., size) -> (..., size)."""
        return functional.layer_norm(x, self.scale.shape, self.scale, self.bias, eps=1e-3)


class Linear(nn.Module):
    """y = x kernel + bias on the last axis."""

    def __init__(self, inputs: int, outputs: int, outscale: float = 1.0) -> None:
        super().__init__()
        self.kernel = nn.Parameter(truncated_normal((inputs, outputs), inputs, outscale))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        if x.dim() == 2:
            return torch.addmm(self.bias, x, self.kernel)
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.kernel).unflatten(0, x.shape[:-1])


class Dense(Linear):
    """Linear, RMS norm, SiLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.scale = nn.Parameter(torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return norm_silu(super().forward(x), self.scale)


def mlp(layers: int, inputs: int, units: int) -> nn.Sequential:
    """`layers` times linear, RMS norm, SiLU."""
    return nn.Sequential(*(Dense(inputs if i == 0 else units, units) for i in range(layers)))


class GlorotLinear(Linear):
    """Linear layer of the generations before DreamerV3: its initial kernel is `glorot_uniform`, its bias zero."""

    def __init__(self, inputs: int, outputs: int, outscale: float = 1.0) -> None:
        super().__init__(inputs, outputs)
        self.kernel = nn.Parameter(glorot_uniform((inputs, outputs), inputs, outputs, outscale))


class GlorotDense(nn.Module):
    """Linear, optional layer norm, activation. With a norm there is no bias, whose work the norm's own bias does."""

    def __init__(self, inputs: int, outputs: int, activation: str, norm: bool = False) -> None:
        super().__init__()
        self.kernel = nn.Parameter(glorot_uniform((inputs, outputs), inputs, outputs))
        self.bias = None if norm else nn.Parameter(torch.zeros(outputs))
        self.norm = LayerNorm(outputs) if norm else None
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        x = x @ self.kernel
        if self.bias is not None:
            x = x + self.bias
        return self.activation(x if self.norm is None else self.norm(x))


def glorot_mlp(inputs: int, widths: Sequence[int], activation: str, norm: bool = False) -> nn.Sequential:
    """Hidden layers of these widths, as the generations before DreamerV3 have them."""
    sizes = [inputs, *widths]
    return nn.Sequential(*(GlorotDense(sizes[i], sizes[i + 1], activation, norm) for i in range(len(widths))))


class BlockLinear(nn.Module):
    """Block-diagonal linear layer: each of G contiguous slices of the input gives one slice of the output.

    The initial scale follows the full input width, not that of a block, as in the published code.
    """

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.kernel = nn.Parameter(truncated_normal((blocks, inputs // blocks, outputs // blocks), inputs, 1.0))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) -> (N, outputs)."""
        return self.join(self.product(self.split(x)))

    def split(self, x: Tensor) -> Tensor:
        """(N, G * n) -> (G, N, n)."""
        return x.unflatten(-1, (self.blocks, -1)).transpose(0, 1)

    def product(self, x: Tensor) -> Tensor:
        """(G, N, inputs / G) -> (G, N, outputs / G)."""
        return torch.baddbmm(self.bias.unflatten(0, (self.blocks, 1, -1)), x, self.kernel)

    @staticmethod
    def join(x: Tensor) -> Tensor:
        """(G, N, n) -> (N, G * n)."""
        return x.transpose(0, 1).flatten(1)


class Conv(nn.Module):
    """Convolution with stride 1 that keeps the resolution; images are (N, channels, height, width)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, outscale: float = 1.0) -> None:
        super().__init__()
        self.padding = kernel // 2
        self.kernel = nn.Parameter(
            truncated_normal((outputs, inputs, kernel, kernel), inputs * kernel * kernel, outscale)
        )
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, height, width) -> (N, outputs, height, width)."""
        return functional.conv2d(x, self.kernel, self.bias, padding=self.padding)


class ConvBlock(Conv):
    """Convolution, optional halving of the resolution by max-pooling, RMS norm over the channels, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, pool: bool) -> None:
        super().__init__(inputs, outputs, kernel)
        self.pool = pool
        self.scale = nn.Parameter(torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, height, width) -> (N, outputs, height or height / 2, width or width / 2)."""
        x = super().forward(x)
        if self.pool:
            x = functional.max_pool2d(x, 2)
        return channel_norm_silu(x, self.scale)


def channel_norm_silu(x: Tensor, scale: Tensor) -> Tensor:
    """RMS norm of each pixel of (N, channels, height, width) over its channels, SiLU."""
    # In channels-last memory the permutations are free and the norm runs over contiguous numbers.
    return norm_silu(x.permute(0, 2, 3, 1), scale).permute(0, 3, 1, 2)
