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
from robot_dreamer.world_model.deferred import DeferredLinear
from robot_dreamer.world_model.distributions import Categorical, one_hot
from robot_dreamer.world_model.fields import Field
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

    def observe(self, start: Latents, tokens: Tensor, action: Tensor, keep: Tensor, noise: Tensor) -> Observed:
        """Filter a sequence.

        start: (B, D), (B, S, K) of the row before; tokens: (B, T, E); action: (B, T, A) features of the action before
        each row; keep: (B, T) float, 0 where the row begins an episode, which forgets state and action; noise:
        (T, B, S, K) Gumbel noise.
        """
        steps = tokens.shape[1]
        keep = keep.transpose(0, 1).unsqueeze(-1)  # (T, B, 1)
        action = action.transpose(0, 1) * keep  # (T, B, A)
        core = _Scan(self, action)
        first, *rest = cast(Sequence[Dense], self.posterior)
        width = self.deter
        # The token half of the first posterior layer does not depend on the state.
        from_tokens = tokens.transpose(0, 1) @ first.kernel[width:] + first.bias  # (T, B, h)
        batch = tokens.shape[0]
        posterior_in = DeferredLinear(first.kernel[:width], from_tokens)
        posterior_rest = [(DeferredLinear(x.kernel, _repeat(x.bias, steps, batch)), x.scale) for x in rest]
        posterior_out = DeferredLinear(self.posterior_out.kernel, _repeat(self.posterior_out.bias, steps, batch))
        deter, stoch = start
        deters, stochs, logits = [], [], []
        for t in range(steps):
            deter = core(deter * keep[t], stoch.flatten(1) * keep[t])  # (B, D)
            x = norm_silu(posterior_in(deter), first.scale)
            for linear, scale in posterior_rest:
                x = norm_silu(linear(x), scale)
            logit = posterior_out(x).unflatten(-1, self.shape)  # (B, S, K)
            stoch = self.draw(logit, noise[t])
            deters.append(deter)
            stochs.append(stoch)
            logits.append(logit)
        return Observed(torch.stack(deters, 1), torch.stack(stochs, 1), torch.stack(logits, 1))


class _Scan:
    """The recurrent step with everything moved out of the loop that does not depend on the state."""

    def __init__(self, rssm: RSSM, action: Tensor) -> None:
        """action: (T, N, A) features of all steps."""
        steps, rows = action.shape[:2]
        self.rssm = rssm
        first, *rest = rssm.layers
        block, shared = rssm.split_kernel()
        width = 2 * rssm.hidden_units
        from_action = rssm.action_in(action) @ shared[width:]  # (T, N, D)
        self.deter_in = DeferredLinear(rssm.deter_in.kernel, _repeat(rssm.deter_in.bias, steps, rows))
        self.stoch_in = DeferredLinear(rssm.stoch_in.kernel, _repeat(rssm.stoch_in.bias, steps, rows))
        self.shared = DeferredLinear(shared[:width], from_action)
        self.block = DeferredLinear(block, _repeat_blocks(first, steps, rows))
        self.rest = [DeferredLinear(layer.kernel, _repeat_blocks(layer, steps, rows)) for layer in rest]
        self.gates = DeferredLinear(rssm.gates.kernel, _repeat_blocks(rssm.gates, steps, rows))

    def __call__(self, deter: Tensor, stoch: Tensor) -> Tensor:
        """deter (N, D), stoch (N, S*K), both already masked -> next deter (N, D)."""
        rssm = self.rssm
        first, *rest = rssm.layers
        from_deter = norm_silu(self.deter_in(deter), rssm.deter_in.scale)
        from_stoch = norm_silu(self.stoch_in(stoch), rssm.stoch_in.scale)
        blocks = first.split(deter)  # (G, N, D/G)
        x = self.shared(torch.cat((from_deter, from_stoch), -1)) + first.join(self.block(blocks))
        x = first.activate(x)  # (N, D)
        for layer, linear in zip(rest, self.rest, strict=True):
            x = layer.activate(layer.join(linear(layer.split(x))))
        return BlockLinear.join(_recur(blocks, self.gates(rssm.gates.split(x))))


def _recur(deter: Tensor, gates: Tensor) -> Tensor:
    """deter (G, N, D/G), gates (G, N, 3D/G) -> next deter (G, N, D/G)."""
    reset, candidate, update = gates.to(deter.dtype).chunk(3, -1)
    candidate = _tanh(torch.sigmoid(reset) * candidate)
    return torch.lerp(deter, candidate, torch.sigmoid(update - 1))


def _tanh(x: Tensor) -> Tensor:
    """tanh(x); may overwrite x where there is no gradient."""
    if x.is_cuda or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.tanh(x)
    # Torch's kernel takes up to ten times as long on a CPU as that of the sigmoid; the difference is rounding.
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


def _repeat(bias: Tensor, steps: int, rows: int) -> Tensor:
    return bias.expand(steps, rows, -1)


def _repeat_blocks(layer: BlockLinear, steps: int, rows: int) -> Tensor:
    return layer.bias.unflatten(0, (layer.blocks, 1, -1)).expand(steps, layer.blocks, rows, -1)


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
