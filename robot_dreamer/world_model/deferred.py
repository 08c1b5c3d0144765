"""Linear layers inside a scan whose weight gradients are computed once, after the scan has been differentiated.

Autograd would compute and add up a small weight gradient at every step. Here the additive part of a layer (its bias, or
whatever is known before the scan) is one tensor for all T steps; the gradient that arrives at it is the gradient of the
layer's output at all steps, and one product with the recorded inputs gives the weight gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class DeferredLinear:
    """y_t = x_t kernel + offset_t, to be called once for each step t in order.

    kernel: (in, out) or (G, in, out); offsets: (T, N, out) or (T, G, N, out).
    """

    def __init__(self, kernel: Tensor, offsets: Tensor) -> None:
        # Autocast would convert the kernel and the offset again at every step.
        self._dtype = product_dtype(kernel)
        self._inputs: list[Tensor] = []
        self._kernel = kernel.detach().to(self._dtype)
        if torch.is_grad_enabled() and kernel.requires_grad:
            offsets = _Deferred.apply(kernel, offsets, self._inputs)
        self._offsets = iter(offsets.to(self._dtype).unbind(0))

    def __call__(self, x: Tensor) -> Tensor:
        """x: (N, in) or (G, N, in)."""
        x = x.to(self._dtype)
        self._inputs.append(x.detach())
        product = torch.addmm if x.dim() == 2 else torch.baddbmm
        return product(next(self._offsets), x, self._kernel)


class _Deferred(torch.autograd.Function):
    """Identity on the offsets; hands the kernel its gradient over all steps."""

    @staticmethod
    def forward(ctx: Any, kernel: Tensor, offsets: Tensor, inputs: list[Tensor]) -> Tensor:
        ctx.inputs, ctx.kernel_dtype = inputs, kernel.dtype
        return offsets.view_as(offsets)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        inputs = torch.cat(ctx.inputs, -2)  # (T N, in) or (G, T N, in)
        # (G, T N, out) or (T N, out)
        grads = grad.transpose(0, 1).flatten(1, 2) if grad.dim() == 4 else grad.flatten(0, 1)
        kernel_grad = torch.matmul(inputs.transpose(-1, -2), grads.to(inputs.dtype))
        return kernel_grad.to(ctx.kernel_dtype), grad, None


def product_dtype(x: Tensor) -> torch.dtype:
    """The precision in which matrix products with x are computed here: that of autocast, or its own."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
