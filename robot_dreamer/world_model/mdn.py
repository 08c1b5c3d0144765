"""M of World Models: an LSTM with a mixture density over the next latent (Ha & Schmidhuber 2018, section 2.2).

    h_{t+1}, c_{t+1} = lstm([z_t, a_t, restart_t], h_t, c_t)
    p(z_{t+1} | h_{t+1}) = prod_s sum_k w_sk N(m_sk, exp(l_sk))           w, m, l are linear in h_{t+1}

Each latent dimension has a mixture of its own. Reward and done, where there are such outputs, are linear in h_{t+1}
too, so that the whole model can be dreamed in. h_t is the state *before* (z_t, a_t) enters: a controller acts on
[z_t, h_t], and the next step takes z_t and the action that was executed.

Letters: N rows, S latent dimensions, K mixtures, A action features, H units of the LSTM.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from robot_dreamer.config import ModelConfig
from robot_dreamer.world_model.cells import LSTM
from robot_dreamer.world_model.latent import Numbers
from robot_dreamer.world_model.layers import in_float32
from robot_dreamer.world_model.rssm import RSSM, Filtered, Latents


class Mixture(NamedTuple):
    """Mixtures of K normal distributions, one mixture for each entry."""

    log_weight: Tensor
    """(..., S, K), normalised over K."""
    mean: Tensor
    """(..., S, K)."""
    log_std: Tensor
    """(..., S, K)."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of value (..., S), per entry."""
        distance = (value.unsqueeze(-1) - self.mean) * torch.exp(-self.log_std)
        log_normal = -0.5 * distance.square() - self.log_std - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(self.log_weight + log_normal, -1)

    def sample(self, uniform: Tensor, normal: Tensor, temperature: float = 1.0) -> Tensor:
        """A draw (..., S) from uniform and standard-normal numbers (..., S).

        The temperature divides the logits of the weights and multiplies the variances. The component is the first whose
        cumulative weight reaches the uniform number.
        """
        weight = functional.softmax(self.log_weight / temperature, -1)
        below = (weight.cumsum(-1) < uniform.unsqueeze(-1)).sum(-1, keepdim=True)
        chosen = below.clamp(max=weight.shape[-1] - 1)  # a sum of weights may end just below 1
        mean, log_std = self.mean.gather(-1, chosen), self.log_std.gather(-1, chosen)
        return (mean + torch.exp(log_std) * math.sqrt(temperature) * normal.unsqueeze(-1)).squeeze(-1)


class Prediction(NamedTuple):
    """What M says of the next row."""

    latent: Mixture
    """(..., S, K)."""
    reward: Tensor | None
    """(...) mean; None without that output."""
    done_logit: Tensor | None
    """(...): above 0 the episode is over; None without that output."""


class MDNRNN(nn.Module):
    """LSTM with a mixture-density output.

    Args:
      latent: S; actions: A; units: H of the LSTM; mixtures: K.
      reward, done: whether there are such outputs.
      restart: whether the input has a flag that the row began an episode.
    """

    def __init__(
        self,
        latent: int,
        actions: int,
        units: int,
        mixtures: int,
        *,
        reward: bool = True,
        done: bool = True,
        restart: bool = False,
    ) -> None:
        super().__init__()
        self.latent, self.mixtures = latent, mixtures
        self.has_reward, self.has_done, self.has_restart = reward, done, restart
        self.lstm = LSTM(latent + actions + restart, units)
        outputs = done + reward + 3 * mixtures * latent
        self.kernel = nn.Parameter(nn.init.xavier_uniform_(torch.empty(units, outputs)))
        # Not zero: the original gives this bias no initialiser, and TensorFlow's own one makes it uniform.
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-1, 1) * math.sqrt(3 / outputs))

    @property
    def units(self) -> int:
        """H."""
        return self.lstm.units

    def step(
        self, h: Tensor, c: Tensor, z: Tensor, action: Tensor, restart: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """h, c (N, H) before the row, z (N, S), action (N, A), restart (N) float -> h, c (N, H) after it.

        `restart` is needed where the input has it. It does not zero the state: who filters does.
        """
        parts = [z, action] if restart is None else [z, action, restart.unsqueeze(-1)]
        return self.lstm(torch.cat(parts, -1), h, c)

    def predict(self, h: Tensor) -> Prediction:
        """h (..., H) after a row -> what comes with the next one."""
        out = in_float32(torch.matmul, h, self.kernel) + self.bias
        heads = self.has_done + self.has_reward
        # Columns: done, reward, then 3 K numbers for each latent dimension.
        parts = out[..., heads:].unflatten(-1, (self.latent, 3 * self.mixtures))
        logits, mean, log_std = parts.chunk(3, -1)
        return Prediction(
            Mixture(functional.log_softmax(logits, -1), mean, log_std),
            out[..., heads - 1] if self.has_reward else None,
            out[..., 0] if self.has_done else None,
        )


class MemoryRSSM(RSSM):
    """M in the place of an RSSM: deter = [h, c] and, if the input has it, the restart flag; stoch = z.

    The posterior is V's code, which tokens carry as it is: the memory has no say in what is seen. An episode begins
    with h = c = 0, not with what a step makes of zeros.
    """

    def __init__(self, actions: int, config: ModelConfig) -> None:
        restart = config.restart_input
        super().__init__(config.deter + restart, Numbers(config.stoch, rule="log_variance"))
        self.memory = MDNRNN(config.stoch, actions, config.deter // 2, config.mixtures, restart=restart)

    def split(self, deter: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """deter (..., D) -> h and c (..., H), restart flag (...) or None."""
        units = self.memory.units
        h, c = deter[..., :units], deter[..., units : 2 * units]
        return h, c, deter[..., -1] if self.memory.has_restart else None

    def step(self, deter: Tensor, stoch: Tensor, action: Tensor, prepared: Any = None) -> Tensor:
        """See `RSSM.step`."""
        h, c, restart = self.split(deter)
        h, c = self.memory.step(h, c, stoch, action, restart)
        return torch.cat((h, c) if restart is None else (h, c, torch.zeros_like(deter[..., -1:])), -1)

    def filter(self, state: Latents, action: Tensor, tokens: Tensor, keep: Tensor, noise: Tensor) -> Filtered:
        """See `RSSM.filter`."""
        # Before the step, so that nothing that is no number enters its derivative; after it, h = c = 0.
        deter = self.step(*self.reset(state, keep), action) * keep
        if self.memory.has_restart:
            deter = torch.cat((deter[..., :-1], 1 - keep), -1)
        return Filtered(deter, self.latent.draw(tokens, noise), tokens)

    def posterior_statistics(self, deter: Tensor, tokens: Tensor) -> Tensor:
        """The tokens: V's means and log-variances."""
        return tokens

    def prior_statistics(self, deter: Tensor) -> Tensor:
        """Mean and log-variance of M's mixtures; M itself draws from the mixtures."""
        mixture = self.predict(deter).latent
        weight = mixture.log_weight.exp()
        mean = (weight * mixture.mean).sum(-1)
        spread = (mixture.mean - mean.unsqueeze(-1)).square()
        variance = (weight * (torch.exp(2 * mixture.log_std) + spread)).sum(-1)
        return torch.cat((mean, torch.log(variance)), -1)

    def expect(self, deter: Tensor, generator: torch.Generator) -> Tensor:
        """See `RSSM.expect`; from the mixtures themselves."""
        shape = (deter.shape[0], *self.latent.shape)
        uniform = torch.rand(shape, generator=generator, device=deter.device)
        normal = torch.randn(shape, generator=generator, device=deter.device)
        return self.predict(deter).latent.sample(uniform, normal)

    def predict(self, deter: Tensor) -> Prediction:
        """deter (..., D) of a row -> what the rows before it said of this row."""
        return self.memory.predict(self.split(deter)[0])

    def surprise(self, filtered: Filtered) -> Tensor:
        """Negative log-likelihood of z in nats, summed over the latents: (N)."""
        return -self.predict(filtered.deter).latent.log_prob(filtered.stoch).sum(-1)


def mixture_loss(mixture: Mixture, target: Tensor) -> Tensor:
    """Negative log-likelihood of target (..., S), mean over its entries -> (...)."""
    return -mixture.log_prob(target).mean(-1)


def done_loss(logit: Tensor, done: Tensor, factor: float) -> Tensor:
    """Cross-entropy of the done logit (...) with labels (...) 0 or 1; ends, which are rare, count `factor` times."""
    loss = functional.binary_cross_entropy_with_logits(logit, done, reduction="none")
    return (1 + (factor - 1) * done) * loss
