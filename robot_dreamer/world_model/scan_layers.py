"""Layers of a scan: called once for each step, then differentiated in reverse order, with one weight gradient in all.

Autograd would compute and add up a small weight gradient at every step. Here the additive part of a linear layer (its
bias, or whatever is known before the scan) is one tensor for all T steps, and one product of all inputs with all output
gradients gives the gradient of the kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from robot_dreamer.world_model.rms_norm import inverse_rms, rms_norm_backward

# Below this size a CPU takes longer to convert a few rows than bfloat16 saves in their product.
_SMALL = 2**17


class ScanLinear:
    """y_t = x_t kernel + offset_t; N rows, G blocks. Chooses its own precision: call it with autocast switched off."""

    def __init__(self, kernel: Tensor, offsets: Tensor) -> None:
        """kernel: (in, out) or (G, in, out); offsets: (T, N, out) or (T, G, N, out)."""
        small = kernel.device.type == "cpu" and kernel.numel() < _SMALL
        self._dtype = kernel.dtype if small else product_dtype(kernel)
        self._kernel = kernel.detach().to(self._dtype)
        self._offsets = offsets.detach().to(self._dtype).unbind(0)
        self._kernel_dtype, self._offsets_dtype = kernel.dtype, offsets.dtype
        self._inputs: list[Tensor] = []
        self._gradients: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        """x: (N, in) or (G, N, in)."""
        x = x.to(self._dtype)
        product = torch.addmm if x.dim() == 2 else torch.baddbmm
        y = product(self._offsets[len(self._inputs)], x, self._kernel)
        self._inputs.append(x)
        return y

    def backward(self, gradient: Tensor) -> Tensor:
        """Gradient of the last output that has not been differentiated yet -> gradient of its input."""
        gradient = gradient.to(self._dtype)
        self._gradients.append(gradient)
        return torch.matmul(gradient, self._kernel.transpose(-1, -2))

    def gradients(self) -> tuple[Tensor, Tensor]:
        """Gradients of kernel and offsets, after all steps."""
        inputs = torch.cat(self._inputs, -2)  # (T N, in) or (G, T N, in)
        outputs = torch.cat(self._gradients[::-1], -2)  # (T N, out) or (G, T N, out)
        kernel = torch.matmul(inputs.transpose(-1, -2), outputs)
        offsets = outputs.unflatten(-2, (len(self._inputs), -1))  # (T, N, out) or (G, T, N, out)
        offsets = offsets if offsets.dim() == 3 else offsets.transpose(0, 1)
        return kernel.to(self._kernel_dtype), offsets.to(self._offsets_dtype)


class ScanNormSilu:
    """silu(rms_norm(x_t))."""

    def __init__(self, scale: Tensor) -> None:
        self._scale = scale.detach()
        self._saved: list[tuple[Tensor, Tensor, Tensor]] = []
        self.gradient = torch.zeros_like(scale)
        """Gradient of the scale so far."""

    def __call__(self, x: Tensor) -> Tensor:
        """(N, n) -> (N, n)."""
        full = x.float()
        inverse = inverse_rms(full)
        normed = (full * inverse).mul_(self._scale).to(x.dtype)
        self._saved.append((full, inverse, normed))
        return functional.silu(normed)

    def backward(self, gradient: Tensor) -> Tensor:
        """Gradient of the last output that has not been differentiated yet -> gradient of its input, in float32."""
        full, inverse, normed = self._saved.pop()
        gradient = torch.ops.aten.silu_backward(gradient.to(normed.dtype), normed).float()
        gradient, of_scale = rms_norm_backward(gradient, full, inverse, self._scale)
        self.gradient += of_scale
        return gradient


def product_dtype(x: Tensor) -> torch.dtype:
    """The precision in which matrix products with x are computed here: that of autocast, or its own."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
