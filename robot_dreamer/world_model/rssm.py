"""The recurrent state-space model as the papers write it (PlaNet, section 2; the Dreamer line since).

    h_t = f(h_{t-1}, z_{t-1}, a_{t-1})       deterministic state
    p(z_t | h_t)                             prior: what was to be expected
    q(z_t | h_t, o_t)                        posterior: what the observation says

A generation gives `step`, `prior_statistics` and `posterior_statistics`; filtering is written here once. Letters: N
rows, B batch, T time, D deter, E tokens, A action features; `latent` says what a latent and its statistics are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robot_dreamer.world_model.distributions import gumbel, one_hot
from robot_dreamer.world_model.fast.pieces import pieces
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.latent import LatentSpace


class Latents(NamedTuple):
    """State of the model at one or several rows."""

    deter: Tensor
    """(..., D) deterministic state."""
    stoch: Tensor
    """(..., *latent.shape) stochastic state."""


class Filtered(NamedTuple):
    """One filtered row."""

    deter: Tensor
    """(N, D)."""
    stoch: Tensor
    """(N, *latent.shape) drawn from the posterior."""
    posterior: Tensor
    """(N, *latent.statistics)."""


class Observed(NamedTuple):
    """Result of filtering a sequence."""

    deter: Tensor
    """(B, T, D)."""
    stoch: Tensor
    """(B, T, *latent.shape) drawn from the posterior."""
    posterior: Tensor
    """(B, T, *latent.statistics)."""


class RSSM(nn.Module, ABC):
    """Sequence model over tokens and action features.

    Attributes:
      deter: D.
      latent: what its latents are.
    """

    def __init__(self, deter: int, latent: LatentSpace) -> None:
        super().__init__()
        self.deter, self.latent = deter, latent

    @abstractmethod
    def step(self, deter: Tensor, stoch: Tensor, action: Tensor, prepared: Any = None) -> Tensor:
        """Next deterministic state: deter (N, D), stoch (N, *latent.shape), action (N, A) -> (N, D).

        `prepared`: what `prepare` returned, where many steps are made with the same parameters.
        """

    @abstractmethod
    def prior_statistics(self, deter: Tensor) -> Tensor:
        """deter (..., D) -> statistics of the prior (..., *latent.statistics)."""

    @abstractmethod
    def posterior_statistics(self, deter: Tensor, tokens: Tensor) -> Tensor:
        """deter (..., D), tokens (..., E) -> statistics of the posterior (..., *latent.statistics)."""

    def expect(self, deter: Tensor, generator: torch.Generator) -> Tensor:
        """Draw what the rows before lead one to expect: deter (N, D) -> latents (N, *latent.shape)."""
        shape = (deter.shape[0], *self.latent.shape)
        if self.latent.noise == "gumbel":
            noise = gumbel(torch.rand(shape, generator=generator, device=deter.device))
        else:
            noise = torch.randn(shape, generator=generator, device=deter.device)
        return self.latent.draw(self.prior_statistics(deter), noise)

    def initial(self, rows: int) -> Latents:
        """The state of `rows` rows before an episode: zeros."""
        like = next(self.parameters())
        return Latents(like.new_zeros(rows, self.deter), like.new_zeros(rows, *self.latent.shape))

    def reset(self, state: Latents, keep: Tensor) -> Latents:
        """The state (N, ...) where keep (N, 1) is 1, the initial one where it is 0; one that is no number goes too."""
        deter, stoch = (torch.where(keep.view(-1, *(1,) * (x.dim() - 1)) > 0, x, 0.0) for x in state)
        return Latents(deter, stoch)

    def filter(self, state: Latents, action: Tensor, tokens: Tensor, keep: Tensor, noise: Tensor) -> Filtered:
        """One row: state of the row before, features of the action after it (N, A), tokens of this row (N, E).

        keep: (N, 1) float, 0 where this row begins an episode, which forgets state and action; noise: (N,
        *latent.shape).
        """
        deter, stoch = self.reset(state, keep)
        deter = self.step(deter, stoch, action * keep)
        posterior = self.posterior_statistics(deter, tokens)
        return Filtered(deter, self.latent.draw(posterior, noise), posterior)

    def surprise(self, filtered: Filtered) -> Tensor:
        """How little a row was expected: KL between posterior and prior in nats (N)."""
        prior = self.latent(self.prior_statistics(filtered.deter))
        return self.latent.kl(self.latent(filtered.posterior), prior)

    def observe(
        self, start: Latents, tokens: Tensor, action: Tensor, keep: Tensor, noise: Tensor, few: Any = None
    ) -> Observed:
        """Filter a sequence, row by row.

        start: state of the row before; tokens: (B, T, E); action: (B, T, A) features of the action before each row;
        keep: (B, T) float; noise: (T, B, *latent.shape); few: what `few` returned, for a batch of this shape.
        """
        filter_few = few or self.filter_few
        state, found = start, []
        for now in pieces(tokens.shape[1]):
            observed: Observed = filter_few(state, tokens[:, now], action[:, now], keep[:, now], noise[now])
            state = Latents(observed.deter[:, -1], observed.stoch[:, -1])
            found.append(observed)
        return Observed(*(torch.cat(values, 1) for values in zip(*found, strict=True)))

    def filter_few(self, state: Latents, tokens: Tensor, action: Tensor, keep: Tensor, noise: Tensor) -> Observed:
        """`filter` of one row after the other; shapes as in `observe`."""
        rows = []
        for t in range(tokens.shape[1]):
            filtered = self.filter(state, action[:, t], tokens[:, t], keep[:, t : t + 1], noise[t])
            state = Latents(filtered.deter, filtered.stoch)
            rows.append(filtered)
        return Observed(*(torch.stack(values, 1) for values in zip(*rows, strict=True)))

    def prepare(self) -> Any:
        """What of a step depends on the parameters alone."""
        return None

    def few(self, compiled: Callable[[str, Any], Any]) -> Any:
        """How `observe` filters a few rows; compiled: (name, function) -> the form to call (`CompiledFunctions`)."""
        return compiled("filter few", self.filter_few)


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


def feature_of(deter: Tensor, stoch: Tensor) -> Tensor:
    """deter (..., D), stoch (..., *latent.shape) -> input (..., D + latent size) of all heads, policy and critic."""
    return torch.cat((deter, stoch.reshape(*deter.shape[:-1], -1)), -1)
