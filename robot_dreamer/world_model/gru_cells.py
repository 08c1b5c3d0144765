"""The gated recurrent units of PlaNet, Dreamer V1, DreamerV2 and DayDreamer: four that differ where it matters.

    name             candidate                              next state             of
    reset_before     tanh(W [x, r h] + b)                   u h + (1 - u) c        PlaNet (TensorFlow 1)
    reset_after      tanh(W x + b + r (V h + b'))           u h + (1 - u) c        Dreamer V1 (Keras)
    layer_norm       tanh(s(r) c)                           u c + (1 - u) h        DreamerV2
    layer_norm_bare  the same, from [h, x] without a bias   u c + (1 - u) h        DayDreamer

s is the sigmoid; in the last two the three parts come from one layer with layer norm over all of them, and
u = s(u' - 1). Letters: N rows, X inputs, D deter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from robot_dreamer.world_model.layers import LayerNorm, glorot_uniform


def _kernel(inputs: int, outputs: int) -> nn.Parameter:
    return nn.Parameter(glorot_uniform((inputs, outputs), inputs, outputs))


class ResetBefore(nn.Module):
    """The reset gate acts on the state before the product; the gates' biases begin at one."""

    def __init__(self, inputs: int, deter: int) -> None:
        super().__init__()
        self.gates_kernel = _kernel(inputs + deter, 2 * deter)
        self.gates_bias = nn.Parameter(torch.ones(2 * deter))
        self.candidate_kernel = _kernel(inputs + deter, deter)
        self.candidate_bias = nn.Parameter(torch.zeros(deter))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x (N, X), h (N, D) -> (N, D)."""
        gates = torch.sigmoid(torch.addmm(self.gates_bias, torch.cat((x, h), -1), self.gates_kernel))
        reset, update = gates.chunk(2, -1)
        mixed = torch.cat((x, reset * h), -1)
        candidate = torch.tanh(torch.addmm(self.candidate_bias, mixed, self.candidate_kernel))
        return update * h + (1 - update) * candidate


class ResetAfter(nn.Module):
    """The reset gate acts on the product; columns are update, reset, candidate; the recurrent kernel is orthogonal."""

    def __init__(self, inputs: int, deter: int) -> None:
        super().__init__()
        self.kernel = _kernel(inputs, 3 * deter)
        self.recurrent = nn.Parameter(nn.init.orthogonal_(torch.empty(deter, 3 * deter)))
        self.bias = nn.Parameter(torch.zeros(2, 3 * deter))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x (N, X), h (N, D) -> (N, D)."""
        update, reset, candidate = torch.addmm(self.bias[0], x, self.kernel).chunk(3, -1)
        update_h, reset_h, candidate_h = torch.addmm(self.bias[1], h, self.recurrent).chunk(3, -1)
        update, reset = torch.sigmoid(update + update_h), torch.sigmoid(reset + reset_h)
        candidate = torch.tanh(candidate + reset * candidate_h)
        return update * h + (1 - update) * candidate


class NormedGRU(nn.Module):
    """One layer with layer norm; keeps the old state at first (DreamerV2). `bare`: [h, x] and no bias (DayDreamer)."""

    def __init__(self, inputs: int, deter: int, bare: bool = False) -> None:
        super().__init__()
        self.kernel = _kernel(inputs + deter, 3 * deter)
        self.bias = None if bare else nn.Parameter(torch.zeros(3 * deter))
        self.norm = LayerNorm(3 * deter)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x (N, X), h (N, D) -> (N, D)."""
        parts = torch.cat((h, x), -1) @ self.kernel if self.bias is None else self._with_bias(x, h)
        reset, candidate, update = self.norm(parts).chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        return update * candidate + (1 - update) * h

    def _with_bias(self, x: Tensor, h: Tensor) -> Tensor:
        assert self.bias is not None
        return torch.addmm(self.bias, torch.cat((x, h), -1), self.kernel)


GRU_CELLS: dict[str, Callable[[int, int], nn.Module]] = {
    "reset_before": ResetBefore,
    "reset_after": ResetAfter,
    "layer_norm": NormedGRU,
    "layer_norm_bare": functools.partial(NormedGRU, bare=True),
}
"""By name; see the module."""


def gru_cell(name: str, inputs: int, deter: int) -> nn.Module:
    """The cell of that name. Raises KeyError for one that is not in GRU_CELLS."""
    return GRU_CELLS[name](inputs, deter)
