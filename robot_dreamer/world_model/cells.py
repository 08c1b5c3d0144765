"""Recurrent cells as the papers write them; kernels are (inputs, outputs)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LSTM(nn.Module):
    """Long short-term memory without peepholes, norm or dropout (TensorFlow's basic cell, as World Models used it).

    i, j, f, o = split([x, h] kernel + bias)
    c' = c s(f + forget_bias) + s(i) tanh(j),  h' = tanh(c') s(o)          s is the sigmoid

    One bias for all gates: `torch.nn.LSTM` has a second one.
    """

    def __init__(self, inputs: int, units: int, forget_bias: float = 1.0) -> None:
        super().__init__()
        self.inputs, self.units, self.forget_bias = inputs, units, forget_bias
        self.kernel = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inputs + units, 4 * units)))
        self.bias = nn.Parameter(torch.zeros(4 * units))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, inputs), h and c (N, units) -> next h and c (N, units)."""
        gates = torch.addmm(self.bias, torch.cat((x, h), -1), self.kernel)
        i, j, f, o = gates.chunk(4, -1)
        c = c * torch.sigmoid(f + self.forget_bias) + torch.sigmoid(i) * torch.tanh(j)
        return torch.tanh(c) * torch.sigmoid(o), c
