"""RMS normalisation over the last axis with a backward pass that is cheap on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-4


def rms_norm(x: Tensor, scale: Tensor) -> Tensor:
    """y = x / sqrt(mean(x^2) + 1e-4) * scale over the last axis, computed in float32, returned in the dtype of x.

    x: (..., n), scale: (n).
    """
    full = x.float()
    if torch.compiler.is_compiling():
        return (full * inverse_rms(full) * scale).to(x.dtype)
    if torch.is_grad_enabled():
        return _RMSNorm.apply(full, scale).to(x.dtype)
    return (full * inverse_rms(full)).mul_(scale).to(x.dtype)


def norm_silu(x: Tensor, scale: Tensor) -> Tensor:
    """silu(rms_norm(x, scale))."""
    # Without gradient nobody else holds the normalised values.
    return functional.silu(rms_norm(x, scale), inplace=not torch.is_grad_enabled())


def inverse_rms(x: Tensor) -> Tensor:
    """1 / sqrt(mean(x^2) + 1e-4) over the last axis, which stays: (..., n) -> (..., 1)."""
    return torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)


class _RMSNorm(torch.autograd.Function):
    """The same function with its derivative written out: autograd's own is several times slower on large inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        inverse = inverse_rms(x)
        ctx.save_for_backward(x, scale, inverse)
        return (x * inverse).mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, scale, inverse = ctx.saved_tensors
        return rms_norm_backward(grad, x, inverse, scale)


def rms_norm_backward(grad: Tensor, x: Tensor, inverse: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of x (..., n) and scale (n) from that of the output; inverse: `inverse_rms` of x. All float32."""
    n = x.shape[-1]
    # The backward of a layer norm without mean is that of an RMS norm, minus the mean of the scaled gradient.
    grad_x, grad_scale, _ = torch.ops.aten.native_layer_norm_backward(
        grad, x, (n,), torch.zeros_like(inverse), inverse, scale, None, (True, True, False)
    )
    mean = torch.mv(grad.reshape(-1, n), scale).view_as(inverse).mul_(1 / n)
    return grad_x.add_(mean.mul_(inverse)), grad_scale
