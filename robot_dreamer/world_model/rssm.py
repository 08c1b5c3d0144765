"""Recurrent state-space model: block GRU with categorical latents (DreamerV3; block-diagonal since 2024).

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
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.distributions import Categorical, one_hot
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.filtering import Filter, RowFunctions, Structure
from robot_dreamer.world_model.layers import BlockLinear, Dense, Linear, mlp
from robot_dreamer.world_model.rms_norm import norm_silu

Map = Callable[[Tensor], Tensor]


class Latents(NamedTuple):
    """State of the model at one or several rows."""

    deter: Tensor
    """(..., D) deterministic state."""
    stoch: Tensor
    """(..., S, K) one-hot latents."""


class Observed(NamedTuple):
    """Result of filtering a sequence."""

    deter: Tensor
    """(B, T, D)."""
    stoch: Tensor
    """(B, T, S, K) drawn from the posterior."""
    logits: Tensor
    """(B, T, S, K) of the posterior, before the uniform mix."""


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


class RSSM(nn.Module):
    """Sequence model over tokens and action features."""

    def __init__(self, actions: int, tokens: int, config: ModelConfig) -> None:
        super().__init__()
        deter, hidden, blocks = config.deter, config.hidden, config.blocks
        latent = config.stoch * config.classes
        self.shape = (config.stoch, config.classes)
        self.deter, self.hidden_units, self.blocks, self.unimix = deter, hidden, blocks, config.unimix
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

    def initial(self, rows: int) -> Latents:
        """The zero state of `rows` rows."""
        like = self.gates.bias
        return Latents(like.new_zeros(rows, self.deter), like.new_zeros(rows, *self.shape))

    def prior_logits(self, deter: Tensor) -> Tensor:
        """deter (..., D) -> raw logits (..., S, K)."""
        return self.prior_out(self.prior(deter)).unflatten(-1, self.shape)

    def posterior_logits(self, deter: Tensor, tokens: Tensor) -> Tensor:
        """deter (..., D), tokens (..., E) -> raw logits (..., S, K)."""
        return self.posterior_out(self.posterior(torch.cat((deter, tokens), -1))).unflatten(-1, self.shape)

    def draw(self, logits: Tensor, noise: Tensor) -> Tensor:
        """Straight-through one-hot latents (..., S, K) from raw logits and Gumbel noise of the same shape."""
        return Categorical(logits, self.unimix).sample_one_hot(noise)

    def step(self, deter: Tensor, stoch: Tensor, action: Tensor, split: SplitKernel | None = None) -> Tensor:
        """Next deterministic state: deter (N, D), stoch (N, S, K), action (N, A) -> (N, D).

        `split`, the result of `split_kernel`, makes it faster where N is large or there are many steps.
        """
        first, *rest = self.layers
        shared = torch.cat((self.deter_in(deter), self.stoch_in(stoch.flatten(1)), self.action_in(action)), -1)
        blocks = first.split(deter)  # (G, N, D/G)
        if split is None:
            inputs = torch.cat((blocks, shared.unsqueeze(0).expand(self.blocks, -1, -1)), -1)
            x = first.join(first.product(inputs))
        else:
            x = torch.addmm(first.bias, shared, split.shared) + first.join(torch.bmm(blocks, split.block))
        x = first.activate(x)
        for layer in rest:
            x = layer.activate(layer(x))
        return BlockLinear.join(_recur(blocks, self.gates.product(self.gates.split(x))))

    def split_kernel(self) -> SplitKernel:
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
        functions: RowFunctions | None = None,
    ) -> Observed:
        """Filter a sequence.

        start: (B, D), (B, S, K) of the row before; tokens: (B, T, E); action: (B, T, A) features of the action before
        each row; keep: (B, T) float, 0 where the row begins an episode, which forgets state and action; noise:
        (T, B, S, K) Gumbel noise; functions: compiled forms for rows of this shape.
        """
        steps, rows = tokens.shape[1], tokens.shape[0]
        keep = keep.transpose(0, 1).unsqueeze(-1)  # (T, B, 1)
        action = action.transpose(0, 1) * keep  # (T, B, A)
        first_block, *rest = self.layers
        block, shared = self.split_kernel()
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
        structure = Structure(self.blocks, len(rest), len(self.posterior), self.shape, self.unimix)
        parameters = (*(x for pair in linear for x in pair), *scales)
        filtered = Filter.apply(structure, functions or RowFunctions(), *start, keep, noise, *parameters)
        return Observed(*(x.transpose(0, 1) for x in filtered))


def _recur(deter: Tensor, gates: Tensor) -> Tensor:
    """deter (G, N, D/G), gates (G, N, 3D/G) -> next deter (G, N, D/G)."""
    reset, candidate, update = gates.to(deter.dtype).chunk(3, -1)
    candidate = _tanh(torch.sigmoid(reset) * candidate)
    return torch.lerp(deter, candidate, torch.sigmoid(update - 1))


def _tanh(x: Tensor) -> Tensor:
    """tanh(x); may overwrite x where there is no gradient."""
    if x.is_cuda or torch.is_grad_enabled() or torch.compiler.is_exporting():
        return torch.tanh(x)
    # Torch's kernel takes up to ten times as long on a CPU as that of the sigmoid; the difference is rounding.
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


def encode_action(fields: Sequence[Field], action: dict[str, Tensor]) -> Tensor:
    """Dictionary of (N, *shape) -> features (N, A): one-hot where discrete, clipped to [-1, 1] where continuous.

    Fields in the order given. The clipping keeps its gradient, as in the published code.
    """
    parts = []
    for field in fields:
        value = action[field.name]
        if field.kind == "discrete":
            parts.append(one_hot(value.reshape(value.shape[0], -1).long(), field.classes).flatten(1))
        else:
            value = value.reshape(value.shape[0], -1).float()
            parts.append(value / value.abs().clamp(min=1).detach())
    return torch.cat(parts, -1)
