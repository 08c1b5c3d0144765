"""The RSSM of DreamerV3: a block GRU (block-diagonal since its code of 2024), and its fast way to filter.

    x   = [dense(h_{t-1}), dense(z_{t-1}), dense(a_{t-1})]               shared by all blocks
    v   = silu(rms(block_linear([h_{t-1} of the block, x])))
    r, c, u = block_linear(v)                                            three equal parts inside each block
    h_t = s(u - 1) tanh(s(r) c) + (1 - s(u - 1)) h_{t-1}                 s is the sigmoid
    prior     p(z_t | h_t) = categorical(mlp(h_t))
    posterior q(z_t | h_t, o_t) = categorical(mlp([h_t, tokens_t]))

Letters: N rows, B batch, T time, D deter, S stoch groups, K classes, G blocks, h hidden, E tokens, A action features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.fast.filtering import (
    FilterScan,
    RowFunctions,
    Structure,
    filter_few,
    filter_few_backward,
)
from robot_dreamer.world_model.fast.forms import tanh
from robot_dreamer.world_model.fast.rms_norm import norm_silu
from robot_dreamer.world_model.latent import Classes, latent_size
from robot_dreamer.world_model.layers import BlockLinear, Dense, Linear, mlp
from robot_dreamer.world_model.rssm import RSSM, Latents, Observed


class SplitKernel(NamedTuple):
    """Kernel of the first block layer in two parts: one product on the inputs that all blocks share replaces G."""

    block: Tensor
    """(G, D/G, D/G) on each block's slice of the state."""
    shared: Tensor
    """(3h, D) on the inputs that all blocks share."""


class BlockDense(BlockLinear):
    """Block-linear layer, RMS norm over the whole output, SiLU."""

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__(inputs, outputs, blocks)
        self.scale = nn.Parameter(torch.ones(outputs))

    def activate(self, x: Tensor) -> Tensor:
        """Norm and activation of the linear output (N, outputs)."""
        return norm_silu(x, self.scale)


class BlockRSSM(RSSM):
    """`RSSM.observe` is overridden by one differentiable function; `filter` and `step` stay what they say."""

    def __init__(self, actions: int, tokens: int, config: ModelConfig) -> None:
        classes = Classes(config.stoch, config.classes, config.unimix)
        super().__init__(config.deter, classes)
        self.latent: Classes = classes
        deter, hidden, blocks = config.deter, config.hidden, config.blocks
        latent = latent_size(classes)
        self.hidden_units, self.blocks = hidden, blocks
        self.deter_in = Dense(deter, hidden)
        self.stoch_in = Dense(latent, hidden)
        self.action_in = Dense(actions, hidden)
        self.hidden = nn.ModuleList(
            BlockDense(deter + (3 * hidden * blocks if i == 0 else 0), deter, blocks)
            for i in range(config.dynamics_layers)
        )
        self.gates = BlockLinear(deter, 3 * deter, blocks)
        self.prior = mlp(config.prior_layers, deter, hidden)
        self.prior_out = Linear(hidden, latent)
        self.posterior = mlp(config.posterior_layers, deter + tokens, hidden)
        self.posterior_out = Linear(hidden, latent)

    @property
    def layers(self) -> Sequence[BlockDense]:
        """The block-linear hidden layers in front of the gates."""
        return cast(Sequence[BlockDense], self.hidden)

    def prior_statistics(self, deter: Tensor) -> Tensor:
        """deter (..., D) -> logits (..., S, K), before the uniform mix."""
        return self.prior_out(self.prior(deter)).unflatten(-1, self.latent.statistics)

    def posterior_statistics(self, deter: Tensor, tokens: Tensor) -> Tensor:
        """deter (..., D), tokens (..., E) -> logits (..., S, K), before the uniform mix."""
        return self.posterior_out(self.posterior(torch.cat((deter, tokens), -1))).unflatten(-1, self.latent.statistics)

    def step(self, deter: Tensor, stoch: Tensor, action: Tensor, prepared: SplitKernel | None = None) -> Tensor:
        """Next deterministic state: deter (N, D), stoch (N, S, K), action (N, A) -> (N, D).

        `prepared`, the result of `prepare`, makes it faster where N is large or there are many steps.
        """
        first, *rest = self.layers
        shared = torch.cat((self.deter_in(deter), self.stoch_in(stoch.flatten(1)), self.action_in(action)), -1)
        blocks = first.split(deter)  # (G, N, D/G)
        if prepared is None:
            inputs = torch.cat((blocks, shared.unsqueeze(0).expand(self.blocks, -1, -1)), -1)
            x = first.join(first.product(inputs))
        else:
            x = torch.addmm(first.bias, shared, prepared.shared) + first.join(torch.bmm(blocks, prepared.block))
        x = first.activate(x)
        for layer in rest:
            x = layer.activate(layer(x))
        return BlockLinear.join(_recur(blocks, self.gates.product(self.gates.split(x))))

    def prepare(self) -> SplitKernel:
        """The first block layer's kernel in two parts."""
        kernel = self.layers[0].kernel  # (G, D/G + 3h, D/G)
        size = self.deter // self.blocks
        return SplitKernel(kernel[:, :size], kernel[:, size:].transpose(0, 1).flatten(1))

    def observe(
        self,
        start: Latents,
        tokens: Tensor,
        action: Tensor,
        keep: Tensor,
        noise: Tensor,
        few: RowFunctions | None = None,
    ) -> Observed:
        """As `RSSM.observe`, in one function whose derivative is written out (see `fast/filtering.py`)."""
        steps, rows = tokens.shape[1], tokens.shape[0]
        keep = keep.transpose(0, 1).unsqueeze(-1)  # (T, B, 1)
        action = action.transpose(0, 1) * keep  # (T, B, A)
        first_block, *rest = self.layers
        block, shared = self.prepare()
        width = 2 * self.hidden_units
        # The action's share of the first block layer and the token half of the posterior do not depend on the state.
        from_action = self.action_in(action) @ shared[width:]  # (T, B, D)
        first, *posterior = cast(Sequence[Dense], self.posterior)
        from_tokens = tokens.transpose(0, 1) @ first.kernel[self.deter :] + first.bias  # (T, B, h)

        def dense(layer: Linear) -> tuple[Tensor, Tensor]:
            return layer.kernel, layer.bias.expand(steps, rows, -1)

        def blocks(layer: BlockLinear, kernel: Tensor) -> tuple[Tensor, Tensor]:
            bias = layer.bias.unflatten(0, (layer.blocks, 1, -1))
            return kernel, bias.expand(steps, layer.blocks, rows, -1)

        linear = (
            *(dense(self.deter_in), dense(self.stoch_in)),
            *((shared[:width], from_action), blocks(first_block, block)),
            *(blocks(layer, layer.kernel) for layer in (*rest, self.gates)),
            *((first.kernel[: self.deter], from_tokens), *map(dense, posterior), dense(self.posterior_out)),
        )
        inputs = torch.stack((self.deter_in.scale, self.stoch_in.scale))
        scales = (inputs, *(layer.scale for layer in (*self.layers, first, *posterior)))
        structure = Structure(self.blocks, len(rest), len(self.posterior), self.latent.shape, self.latent.unimix)
        parameters = (*(x for pair in linear for x in pair), *scales)
        filtered = FilterScan.apply(structure, few or RowFunctions(), *start, keep, noise, *parameters)
        return Observed(*(x.transpose(0, 1) for x in filtered))

    def few(self, compiled: Callable[[str, Any], Any]) -> RowFunctions:
        """A few rows and their derivative, for `observe`."""
        forward = compiled("filter few", filter_few)
        return RowFunctions(forward, compiled("filter few, backward", filter_few_backward))


def _recur(deter: Tensor, gates: Tensor) -> Tensor:
    """deter (G, N, D/G), gates (G, N, 3D/G) -> next deter (G, N, D/G)."""
    reset, candidate, update = gates.to(deter.dtype).chunk(3, -1)
    candidate = tanh(torch.sigmoid(reset) * candidate)
    return torch.lerp(deter, candidate, torch.sigmoid(update - 1))
