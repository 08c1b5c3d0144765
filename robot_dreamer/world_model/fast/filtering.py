"""Filtering of a whole sequence as one differentiable function: `BlockRSSM.step` and a posterior draw at each row.

What does not depend on the state is computed before (see `BlockRSSM.observe`). The derivative is written out: on a CPU
autograd takes longer to record and to walk the hundreds of small operations of a row than they take to compute, and on
a GPU each of them is a kernel. A few rows and their derivative are functions of tensors only, so that each can be
compiled. Letters as in `block_rssm.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robot_dreamer.world_model.distributions import Categorical
from robot_dreamer.world_model.fast.pieces import pieces
from robot_dreamer.world_model.fast.scan_layers import (
    Normed,
    StepBackward,
    StepForward,
    linear_gradients,
    scale_gradient,
    scan_kernel,
)
from robot_dreamer.world_model.layers import BlockLinear

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
    latent: tuple[int, ...]
    """(S, K)."""
    unimix: float


class Saved(NamedTuple):
    """What the derivative of a row needs."""

    inputs: list[Tensor]
    """Of the linear layers."""
    normed: list[Normed]
    gated: tuple[Tensor, ...]
    """Blocks of the state before, reset, candidate, update and proposal, (G, N, D/G) each."""
    probs: Tensor
    """(N, S, K) of the posterior before the uniform mix."""


class Row(NamedTuple):
    """A filtered row."""

    deter: Tensor
    """(N, D)."""
    stoch: Tensor
    """(N, S, K) one-hot."""
    logits: Tensor
    """(N, S, K) of the posterior."""
    saved: Saved


class RowGradients(NamedTuple):
    """Gradients of one row."""

    deter: Tensor
    """(N, D) of the state before."""
    stoch: Tensor
    """(N, S, K) of the latents before."""
    of_linear: list[Tensor]
    """See `StepBackward`, as for the next one."""
    of_scaled: list[Tensor]


def filter_row(
    structure: Structure,
    kernels: Sequence[Tensor],
    scales: Sequence[Tensor],
    offsets: Sequence[Tensor],
    deter: Tensor,
    stoch: Tensor,
    keep: Tensor,
    noise: Tensor,
) -> Row:
    """Next row from deter (N, D) and stoch (N, S, K) of the row before.

    kernels and offsets of this row (see `StepForward`) of deter_in, stoch_in, the two parts of the first block layer
    (on the inputs that all blocks share, and on each block's slice of the state), further block layers, gates, hidden
    layers of the posterior, posterior_out; scales: of deter_in and stoch_in (2, h), block layers, hidden layers of the
    posterior; keep: (N, 1), 0 where an episode begins; noise: (N, S, K) Gumbel noise.
    """
    layers = StepForward(kernels, offsets, scales)
    # Chosen, not multiplied: a state that is no number ends with its episode.
    deter, stoch = torch.where(keep > 0, deter, 0.0), torch.where(keep > 0, stoch.flatten(1), 0.0)
    from_deter, from_stoch = layers.linear(deter), layers.linear(stoch)
    shared = layers.norm_silu(torch.stack((from_deter, from_stoch), 1)).flatten(1)  # (N, 2h)
    blocks = _split(deter, structure)  # (G, N, D/G)
    x = layers.norm_silu(layers.linear(shared) + _join(layers.linear(blocks)))  # (N, D)
    for _ in range(structure.rest):
        x = layers.norm_silu(_join(layers.linear(_split(x, structure))))
    reset, candidate, update = layers.linear(_split(x, structure)).to(deter.dtype).chunk(3, -1)
    reset, update = torch.sigmoid(reset), torch.sigmoid(update - 1)
    proposal = torch.tanh(reset * candidate)
    deter = _join(torch.lerp(blocks, proposal, update))
    x = deter
    for _ in range(structure.posterior):
        x = layers.norm_silu(layers.linear(x))
    logits = layers.linear(x).unflatten(-1, structure.latent)
    posterior = Categorical(logits, structure.unimix)
    saved = Saved(layers.inputs, layers.normed, (blocks, reset, candidate, update, proposal), posterior.softmax)
    return Row(deter, posterior.sample_one_hot(noise), logits, saved)


def filter_row_backward(
    structure: Structure,
    kernels: Sequence[Tensor],
    scales: Sequence[Tensor],
    keep: Tensor,
    normed: Sequence[Normed],
    gated: tuple[Tensor, ...],
    probs: Tensor,
    of_deter: Tensor,
    of_stoch: Tensor,
    of_logits: Tensor,
) -> RowGradients:
    """From the gradients of a row's deter (N, D), stoch and logits (N, S, K); that of stoch goes through `probs`."""
    layers = StepBackward(kernels, scales, normed)
    blocks, reset, candidate, update, proposal = gated
    through = _aten._softmax_backward_data(of_stoch, probs, -1, probs.dtype)
    x = layers.linear((of_logits + (1 - structure.unimix) * through).flatten(1))
    for _ in range(structure.posterior):
        x = layers.linear(layers.norm_silu(x))
    gradient = _split(of_deter + x, structure)
    of_update = _aten.sigmoid_backward(gradient * (proposal - blocks), update)
    of_proposal = gradient * update
    of_product = _aten.tanh_backward(of_proposal, proposal)
    of_reset = _aten.sigmoid_backward(of_product * candidate, reset)
    x = layers.linear(torch.cat((of_reset, of_product * reset, of_update), -1))
    for _ in range(structure.rest):
        x = layers.linear(_split(layers.norm_silu(_join(x)), structure))
    x = layers.norm_silu(_join(x))
    of_blocks = gradient - of_proposal + layers.linear(_split(x, structure))
    of_shared = layers.norm_silu(layers.linear(x).unflatten(-1, (2, -1)))
    of_stoch = layers.linear(of_shared[:, 1]).float() * keep
    of_deter = (_join(of_blocks) + layers.linear(of_shared[:, 0])) * keep
    return RowGradients(of_deter, of_stoch.view_as(probs), layers.of_linear, layers.of_scaled)


def _split(x: Tensor, structure: Structure) -> Tensor:
    """(N, G n) -> (G, N, n)."""
    return x.unflatten(-1, (structure.blocks, -1)).transpose(0, 1)


def filter_few(
    structure: Structure,
    kernels: Sequence[Tensor],
    scales: Sequence[Tensor],
    offsets: Sequence[Sequence[Tensor]],
    deter: Tensor,
    stoch: Tensor,
    keep: Tensor,
    noise: Tensor,
) -> list[Row]:
    """`filter_row` of one row after the other: offsets of each; keep: (T, N, 1); noise: (T, N, S, K)."""
    rows: list[Row] = []
    for t, of_row in enumerate(offsets):
        rows.append(filter_row(structure, kernels, scales, of_row, deter, stoch, keep[t], noise[t]))
        deter, stoch = rows[-1].deter, rows[-1].stoch
    return rows


def filter_few_backward(
    structure: Structure,
    kernels: Sequence[Tensor],
    scales: Sequence[Tensor],
    keep: Tensor,
    saved: Sequence[tuple[Sequence[Normed], tuple[Tensor, ...], Tensor]],
    of_deters: Tensor,
    of_stochs: Tensor,
    of_logits: Tensor,
    of_deter: Tensor,
    of_stoch: Tensor,
) -> list[RowGradients]:
    """`filter_row_backward` of these rows, the last first.

    keep, of_deters, of_stochs, of_logits: (T, N, ...); saved: normed, gated and probs of each row; of_deter (N, D) and
    of_stoch (N, S, K): what the row after the last hands back.
    """
    rows: list[RowGradients] = []
    for t in reversed(range(len(saved))):
        of_row = of_deters[t] + of_deter, of_stochs[t] + of_stoch, of_logits[t]
        rows.append(filter_row_backward(structure, kernels, scales, keep[t], *saved[t], *of_row))
        of_deter, of_stoch = rows[-1].deter, rows[-1].stoch
    return rows


class RowFunctions(NamedTuple):
    """`filter_few` and its derivative, or compiled forms of them."""

    forward: Callable[..., list[Row]] = filter_few
    backward: Callable[..., list[RowGradients]] = filter_few_backward


class FilterScan(torch.autograd.Function):
    """Apply to: structure; row functions; deter (B, D) and stoch (B, S, K) of the row before; keep (T, B, 1), 0 where a
    row begins an episode; Gumbel noise (T, B, S, K); kernels with their offsets (T, B, out) or (T, G, B, out) of
    `filter_row`, by turns; its scales.

    Returns deter (T, B, D), stoch (T, B, S, K) and logits (T, B, S, K), time first.
    """

    @staticmethod
    def forward(
        ctx: Any,
        structure: Structure,
        functions: RowFunctions,
        deter: Tensor,
        stoch: Tensor,
        keep: Tensor,
        noise: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = 6 + structure.rest + structure.posterior
        kernels = [scan_kernel(kernel) for kernel in parameters[: 2 * count : 2]]
        scales = [scale.detach() for scale in parameters[2 * count :]]
        offsets = list(
            zip(
                *(
                    offset.detach().to(kernel.dtype).unbind(0)
                    for kernel, offset in zip(kernels, parameters[1 : 2 * count : 2], strict=True)
                ),
                strict=True,
            )
        )
        rows: list[Row] = []
        with torch.autocast(deter.device.type, enabled=False):  # It would convert every kernel again at every row.
            for few in pieces(len(offsets)):
                now = offsets[few], deter, stoch, keep[few], noise[few]
                rows += functions.forward(structure, kernels, scales, *now)
                deter, stoch = rows[-1].deter, rows[-1].stoch
        ctx.structure, ctx.functions, ctx.kernels, ctx.scales = structure, functions, kernels, scales
        ctx.keep, ctx.saved = keep, [row.saved for row in rows]
        deters, stochs, all_logits = (torch.stack(values) for values in list(zip(*rows, strict=True))[:3])
        return deters, stochs, all_logits

    @staticmethod
    def backward(ctx: Any, of_deters: Tensor, of_stochs: Tensor, of_logits: Tensor) -> tuple[Tensor | None, ...]:
        of_deter, of_stoch = torch.zeros_like(of_deters[0]), torch.zeros_like(of_stochs[0])
        rows: list[RowGradients] = []
        for few in reversed(pieces(len(ctx.saved))):
            saved = [(row.normed, row.gated, row.probs) for row in ctx.saved[few]]
            rows += ctx.functions.backward(
                *(ctx.structure, ctx.kernels, ctx.scales, ctx.keep[few], saved),
                *(of_deters[few], of_stochs[few], of_logits[few], of_deter, of_stoch),
            )
            of_deter, of_stoch = rows[-1].deter, rows[-1].stoch
        rows.reverse()
        gradients: list[Tensor] = []
        for i in range(len(ctx.kernels)):
            gradients += linear_gradients([s.inputs[i] for s in ctx.saved], [row.of_linear[-1 - i] for row in rows])
        for i in range(len(ctx.scales)):
            gradients.append(scale_gradient([s.normed[i] for s in ctx.saved], [r.of_scaled[-1 - i] for r in rows]))
        return None, None, of_deter, of_stoch, None, None, *gradients
