"""Layers of a scan: applied once for each step, then differentiated in reverse order, with one weight gradient in all.

Autograd would compute and add up a small weight gradient at every step. Here the additive part of a linear layer (its
bias, or whatever is known before the scan) is one tensor for all T steps, and one product of all inputs with all output
gradients gives the gradient of the kernel. N rows, G blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from robot_dreamer.world_model.fast.rms_norm import inverse_rms

# Below this size a CPU takes longer to convert a few rows than bfloat16 saves in their product.
_SMALL = 2**17


class Normed(NamedTuple):
    """What the derivative of silu(rms_norm(x)) needs."""

    unit: Tensor
    """x / rms(x), float32."""
    inverse: Tensor
    """1 / rms(x), float32."""
    scaled: Tensor
    """unit times scale, in the precision of x."""


class StepForward:
    """The layers of one step, in the order of the kernels and of the scales; remembers what `StepBackward` needs."""

    def __init__(self, kernels: Sequence[Tensor], offsets: Sequence[Tensor], scales: Sequence[Tensor]) -> None:
        """kernels: (in, out) or (G, in, out) of `scan_kernel`; offsets of this step: (N, out) or (G, N, out)."""
        self._kernels, self._offsets, self._scales = kernels, offsets, scales
        self.inputs: list[Tensor] = []
        """Of the linear layers so far."""
        self.normed: list[Normed] = []
        """Of the norms so far."""

    def linear(self, x: Tensor) -> Tensor:
        """x kernel + offset: (N, in) -> (N, out) or (G, N, in) -> (G, N, out)."""
        kernel, offset = self._kernels[len(self.inputs)], self._offsets[len(self.inputs)]
        x = x.to(kernel.dtype)
        self.inputs.append(x)
        return torch.addmm(offset, x, kernel) if x.dim() == 2 else torch.baddbmm(offset, x, kernel)

    def norm_silu(self, x: Tensor) -> Tensor:
        """silu(rms_norm(x)) over the last axis."""
        full = x.float()
        inverse = inverse_rms(full)
        unit = full * inverse
        scaled = (unit * self._scales[len(self.normed)]).to(x.dtype)
        self.normed.append(Normed(unit, inverse, scaled))
        return functional.silu(scaled)


class StepBackward:
    """The derivatives of the same layers, called in reverse order."""

    def __init__(self, kernels: Sequence[Tensor], scales: Sequence[Tensor], normed: Sequence[Normed]) -> None:
        self._kernels, self._scales, self._normed = kernels, scales, normed
        self.of_linear: list[Tensor] = []
        """Gradients of the outputs of the linear layers, the last layer first."""
        self.of_scaled: list[Tensor] = []
        """Gradients of `Normed.scaled` in float32, the last norm first."""

    def linear(self, gradient: Tensor) -> Tensor:
        """Gradient of the output -> gradient of the input."""
        kernel = self._kernels[-1 - len(self.of_linear)]
        gradient = gradient.to(kernel.dtype)
        self.of_linear.append(gradient)
        return torch.matmul(gradient, kernel.transpose(-1, -2))

    def norm_silu(self, gradient: Tensor) -> Tensor:
        """Gradient of the output -> gradient of the input, in float32."""
        last = -1 - len(self.of_scaled)
        scale, normed = self._scales[last], self._normed[last]
        gradient = torch.ops.aten.silu_backward(gradient.to(normed.scaled.dtype), normed.scaled).float()
        self.of_scaled.append(gradient)
        gradient = gradient * scale
        mean = (gradient * normed.unit).mean(-1, keepdim=True)
        return torch.addcmul(gradient, normed.unit, mean, value=-1).mul_(normed.inverse)


def scan_kernel(kernel: Tensor) -> Tensor:
    """The kernel in the precision of the scan, which chooses its own: run the scan with autocast switched off."""
    small = kernel.device.type == "cpu" and kernel.numel() < _SMALL
    return kernel.detach() if small else kernel.detach().to(product_dtype(kernel))


def linear_gradients(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Gradients in float32 of kernel and offsets from inputs and output gradients of all T steps."""
    x, gradient = torch.cat(tuple(inputs), -2), torch.cat(tuple(outputs), -2)  # (T N, in) or (G, T N, in)
    kernel = torch.matmul(x.transpose(-1, -2), gradient)
    offsets = gradient.unflatten(-2, (len(inputs), -1))  # (T, N, out) or (G, T, N, out)
    offsets = offsets if offsets.dim() == 3 else offsets.transpose(0, 1)
    return kernel.float(), offsets.float()


def scale_gradient(normed: Sequence[Normed], of_scaled: Sequence[Tensor]) -> Tensor:
    """Gradient of the scale from all T steps."""
    unit = torch.stack([step.unit for step in normed])  # (T, N, ..., n)
    return unit.mul_(torch.stack(tuple(of_scaled))).sum((0, 1))


def product_dtype(x: Tensor) -> torch.dtype:
    """The precision in which matrix products with x are computed here: that of autocast, or its own."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
