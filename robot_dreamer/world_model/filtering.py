"""Filtering of a whole sequence as one differentiable function: `RSSM.step` and a posterior draw at each row.

What does not depend on the state is computed before (see `RSSM.observe`). The derivative is written out: on a CPU
autograd takes longer to record and to walk the hundreds of small operations of a row than they take to compute, and on
a GPU each of them is a kernel. Letters as in `rssm.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from robot_dreamer.world_model.distributions import Categorical
from robot_dreamer.world_model.layers import BlockLinear
from robot_dreamer.world_model.scan_layers import ScanLinear, ScanNormSilu

_aten = torch.ops.aten
_join = BlockLinear.join


class Structure(NamedTuple):
    """What the parameters do not tell."""

    blocks: int
    """G."""
    rest: int
    """Block layers between the first one and the gates."""
    posterior: int
    """Hidden layers of the posterior."""
    latent: tuple[int, int]
    """(S, K)."""
    unimix: float


class FilterLayers:
    """The layers of one row, with everything that their derivatives need of all rows so far.

    linear: (kernel, offsets) pairs (see `ScanLinear`) of deter_in, stoch_in, the two parts of the first block layer
    (on the inputs that all blocks share, and on each block's slice of the state), further block layers, gates, hidden
    layers of the posterior, posterior_out. scales: of deter_in, stoch_in, block layers, hidden layers of the posterior.
    """

    def __init__(self, structure: Structure, linear: list[tuple[Tensor, Tensor]], scales: list[Tensor]) -> None:
        self.structure = structure
        self.linear = [ScanLinear(*pair) for pair in linear]
        self.norms = [ScanNormSilu(scale) for scale in scales]
        rest = structure.rest
        self.deter_in, self.stoch_in, self.shared, self.block = self.linear[:4]
        self.gates, self.posterior_out = self.linear[4 + rest], self.linear[-1]
        self.deter_norm, self.stoch_norm, self.first_norm = self.norms[:3]
        self.rest = list(zip(self.linear[4 : 4 + rest], self.norms[3 : 3 + rest], strict=True))
        self.posterior = list(zip(self.linear[5 + rest : -1], self.norms[3 + rest :], strict=True))
        self._gated: list[tuple[Tensor, ...]] = []
        self._probs: list[Tensor] = []

    def split(self, x: Tensor) -> Tensor:
        """(N, G n) -> (G, N, n)."""
        return x.unflatten(-1, (self.structure.blocks, -1)).transpose(0, 1)

    def step(self, deter: Tensor, stoch: Tensor) -> Tensor:
        """deter (N, D), stoch (N, S K), 0 where an episode begins -> next deter (N, D)."""
        from_deter, from_stoch = self.deter_norm(self.deter_in(deter)), self.stoch_norm(self.stoch_in(stoch))
        blocks = self.split(deter)  # (G, N, D/G)
        x = self.shared(torch.cat((from_deter, from_stoch), -1)) + _join(self.block(blocks))  # (N, D)
        x = self.first_norm(x)
        for linear, norm in self.rest:
            x = norm(_join(linear(self.split(x))))
        reset, candidate, update = self.gates(self.split(x)).to(deter.dtype).chunk(3, -1)
        reset, update = torch.sigmoid(reset), torch.sigmoid(update - 1)
        proposal = torch.tanh(reset * candidate)
        self._gated.append((blocks, reset, candidate, update, proposal))
        return _join(torch.lerp(blocks, proposal, update))

    def step_backward(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of the last state that has not been differentiated yet -> gradients of deter and stoch before it."""
        blocks, reset, candidate, update, proposal = self._gated.pop()
        gradient = self.split(gradient)
        of_update = _aten.sigmoid_backward(gradient * (proposal - blocks), update)
        of_proposal = gradient * update
        of_blocks = gradient - of_proposal
        of_product = _aten.tanh_backward(of_proposal, proposal)
        of_reset = _aten.sigmoid_backward(of_product * candidate, reset)
        x = self.gates.backward(torch.cat((of_reset, of_product * reset, of_update), -1))
        for linear, norm in reversed(self.rest):
            x = linear.backward(self.split(norm.backward(_join(x))))
        x = self.first_norm.backward(_join(x))
        of_deter, of_stoch = self.shared.backward(x).chunk(2, -1)
        of_blocks = of_blocks + self.block.backward(self.split(x))
        of_deter = self.deter_in.backward(self.deter_norm.backward(of_deter))
        return _join(of_blocks) + of_deter, self.stoch_in.backward(self.stoch_norm.backward(of_stoch)).float()

    def infer(self, deter: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """deter (N, D), Gumbel noise (N, S, K) -> one-hot latents and raw logits, (N, S, K) each."""
        for linear, norm in self.posterior:
            deter = norm(linear(deter))
        logits = self.posterior_out(deter).unflatten(-1, self.structure.latent)
        posterior = Categorical(logits, self.structure.unimix)
        self._probs.append(posterior.softmax)
        return posterior.sample_one_hot(noise), logits

    def infer_backward(self, of_stoch: Tensor, of_logits: Tensor) -> Tensor:
        """Gradients of the last latents (N, S, K), through their probabilities, and logits -> that of deter (N, D)."""
        probs = self._probs.pop()
        through = _aten._softmax_backward_data(of_stoch, probs, -1, probs.dtype)
        x = (of_logits + (1 - self.structure.unimix) * through).flatten(1)
        x = self.posterior_out.backward(x)
        for linear, norm in reversed(self.posterior):
            x = linear.backward(norm.backward(x))
        return x

    def gradients(self) -> tuple[Tensor, ...]:
        """Of all parameters in the order of the arguments."""
        return (*(x for linear in self.linear for x in linear.gradients()), *(norm.gradient for norm in self.norms))


class Filter(torch.autograd.Function):
    """Apply to: structure; deter (B, D) and stoch (B, S, K) of the row before; keep (T, B, 1), 0 where a row begins an
    episode; Gumbel noise (T, B, S, K); the arguments of `FilterLayers` as a flat sequence.

    Returns deter (T, B, D), stoch (T, B, S, K) and logits (T, B, S, K), time first.
    """

    @staticmethod
    def forward(
        ctx: Any, structure: Structure, deter: Tensor, stoch: Tensor, keep: Tensor, noise: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = 6 + structure.rest + structure.posterior
        pairs = list(zip(parameters[: 2 * count : 2], parameters[1 : 2 * count : 2], strict=True))
        layers = FilterLayers(structure, pairs, list(parameters[2 * count :]))
        rows = []
        with torch.autocast(deter.device.type, enabled=False):  # It would convert every kernel again at every row.
            for t in range(noise.shape[0]):
                deter = layers.step(deter * keep[t], stoch.flatten(1) * keep[t])
                stoch, logits = layers.infer(deter, noise[t])
                rows.append((deter, stoch, logits))
        ctx.layers, ctx.keep = layers, keep
        deters, stochs, all_logits = (torch.stack(values) for values in zip(*rows, strict=True))
        return deters, stochs, all_logits

    @staticmethod
    def backward(ctx: Any, of_deters: Tensor, of_stochs: Tensor, of_logits: Tensor) -> tuple[Tensor | None, ...]:
        layers, keep = ctx.layers, ctx.keep
        of_deter, of_stoch = torch.zeros_like(of_deters[0]), torch.zeros_like(of_stochs[0])
        for t in reversed(range(keep.shape[0])):
            inferred = layers.infer_backward(of_stochs[t] + of_stoch, of_logits[t])
            of_deter, of_stoch = layers.step_backward(of_deters[t] + of_deter + inferred)
            of_deter, of_stoch = of_deter * keep[t], (of_stoch * keep[t]).view_as(of_stochs[t])
        return None, of_deter, of_stoch, None, None, *layers.gradients()
