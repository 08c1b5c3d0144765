"""The optimiser of DreamerV3 on one flat buffer: clip each tensor, divide by the RMS, momentum, step.

The order matters: Adam averages first and divides afterwards. All parameters, gradients and moments live in flat
buffers, so that one update is a handful of operations whatever the number of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robot_dreamer.config import OptimizerConfig


class Optimizer:
    """Owns the memory of the parameters it is given; they become views of `flat`."""

    def __init__(self, parameters: Sequence[nn.Parameter], config: OptimizerConfig) -> None:
        self.config = config
        self.parameters = list(parameters)
        device = self.parameters[0].device
        sizes = [parameter.numel() for parameter in self.parameters]
        self.flat = torch.cat([parameter.detach().float().flatten() for parameter in self.parameters])
        self.first_moment = torch.zeros_like(self.flat)
        self.second_moment = torch.zeros_like(self.flat)
        self.step_count = torch.zeros((), dtype=torch.int64, device=device)
        self._sizes = sizes
        self._lengths = torch.tensor(sizes, device=device)
        self._segments = self.flat.split(sizes)
        for parameter, segment in zip(self.parameters, self._segments, strict=True):
            parameter.data = segment.view_as(parameter)

    def views(self, flat: Tensor) -> list[Tensor]:
        """A flat buffer as tensors of the shapes of the parameters, sharing its memory."""
        parts = flat.split(self._sizes)
        return [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], finite: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """One update in place; gradients in the order of the parameters.

        `finite`: () bool; where it is false, or a gradient is not finite, nothing changes at all; where the new
        parameters would not be finite, they stay as they were. Returns () bool whether the update was applied, and
        scalars: norm and RMS of the gradient, RMS of step and parameters.
        """
        config = self.config
        gradient = torch.cat([part.reshape(-1) for part in gradients])
        gradient_norms = torch.stack(torch._foreach_norm(gradient.split(self._sizes)))
        parameter_norms = torch.stack(torch._foreach_norm(self._segments))
        square = gradient_norms.double().square().sum()
        applied = finite & torch.isfinite(square)

        # 1. Adaptive gradient clipping, per tensor.
        bound = config.agc * parameter_norms.clamp(min=config.agc_minimum)
        factor = 1 / (gradient_norms / bound).clamp(min=1)
        self._scale_segments(gradient, factor)
        # A skipped update has zero gradient, zero learning rate and moments that stand still.
        gradient = torch.where(applied, gradient, 0.0)
        count = self.step_count + applied
        age = count.clamp(min=1).double()

        # 2. Division by the RMS, with bias correction.
        rate = torch.where(applied, 1 - config.beta2, 0.0)
        self.second_moment.lerp_(gradient.square(), rate)
        root = (self.second_moment / (1 - config.beta2**age)).sqrt_().add_(config.epsilon)
        normalized = gradient.div_(root)

        # 3. Momentum, with bias correction.
        rate = torch.where(applied, 1 - config.beta1, 0.0)
        self.first_moment.lerp_(normalized, rate)

        # 4. Step; the very first one has length zero if there is a warm-up.
        ramp = (self.step_count / config.warmup).clamp(max=1) if config.warmup else torch.ones_like(age)
        length = torch.where(applied, config.learning_rate * ramp, 0.0) / (1 - config.beta1**age)
        update = self.first_moment * length
        step_rms = rms(update)
        moved = torch.sub(self.flat, update, out=update)
        # A step too long for float32 leaves the parameters where they are; only the moments have moved, and are finite.
        applied = applied & torch.isfinite(rms(moved))
        torch.where(applied, moved, self.flat, out=self.flat)
        self.step_count.copy_(count)
        return applied, {
            "gradient_norm": square.sqrt().float(),
            "gradient_rms": (square / gradient.numel()).sqrt().float(),
            "update_rms": step_rms,
            "parameter_rms": rms(self.flat),
        }

    def _scale_segments(self, flat: Tensor, factors: Tensor) -> None:
        """Multiply the segment of each parameter by its factor, in place."""
        if flat.is_cuda:  # One kernel instead of one for each tensor.
            flat.mul_(torch.repeat_interleave(factors, self._lengths, output_size=flat.numel()))
        else:
            torch._foreach_mul_(flat.split(self._sizes), factors.unbind())


def rms(x: Tensor) -> Tensor:
    """Root mean square of all entries of x (n), ()."""
    # In pieces: a CPU adds one square after the other, which is half a percent off after ten million equal ones.
    norms = torch.stack(torch._foreach_norm(x.split(32768)))
    return torch.linalg.vector_norm(norms) / x.numel() ** 0.5
