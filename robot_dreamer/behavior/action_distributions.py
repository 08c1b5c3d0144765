"""Bounded distributions of continuous actions in the generations before DreamerV3.

    TanhNormal         a = tanh(u), u normal                              Dreamer V1
    TruncatedNormal    normal, cut at -1 and 1                            DreamerV2

DayDreamer's is the plain `Normal`, which the policy step clips. All take their noise as an argument; zero noise gives
the mean action.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from robot_dreamer.world_model.distributions import Normal

_LARGEST = 1 - 2**-24
"""The largest number below one: where tanh is inverted, actions are clipped to it."""
_ENTROPY_POINTS = 32


class TanhNormal:
    """tanh of a normal variable (Dreamer V1; section "Action model" of its appendix)."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.base = Normal(mean, std)

    @staticmethod
    def bounded(mean: Tensor, std: Tensor, init_std: float, min_std: float) -> TanhNormal:
        """From network outputs: mean = 5 tanh(mean / 5), std = softplus(std + c) + min_std, c so that 0 -> init_std."""
        mean, std = mean.float(), std.float()
        shift = math.log(math.expm1(init_std))
        return TanhNormal(5 * torch.tanh(mean / 5), functional.softplus(std + shift) + min_std)

    def sample(self, noise: Tensor) -> Tensor:
        """tanh(mean + std noise); standard-normal noise."""
        return torch.tanh(self.base.sample(noise))

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-density per component; the inverse of tanh near one costs digits, see `log_prob_of`."""
        return self.log_prob_of(torch.atanh(action.clamp(-_LARGEST, _LARGEST)))

    def log_prob_of(self, u: Tensor) -> Tensor:
        """Log-density per component of the action tanh(u)."""
        return self.base.log_prob(u) - _log_slope(u)

    def entropy(self, draws: Tensor | None = None) -> Tensor:
        """Entropy in nats per component, the mean of -log p over draws (n, ...) of noise; there is no closed form.

        Without draws over the middles of 32 parts of equal probability, which is not random.
        """
        mean = self.base.mean
        if draws is None:
            middles = (torch.arange(_ENTROPY_POINTS, device=mean.device) + 0.5) / _ENTROPY_POINTS
            draws = normal_quantile(middles).view(-1, *(1,) * mean.dim())
        # How likely mean + std z is under the normal depends on z and std alone: no passes over all n for that.
        normal = torch.log(self.base.std) + 0.5 * draws.square().mean(0) + 0.5 * math.log(2 * math.pi)
        return normal + _log_slope(self.base.sample(draws)).mean(0)


def _log_slope(u: Tensor) -> Tensor:
    """log(1 - tanh(u)^2), without its overflow."""
    return 2 * (math.log(2) - u - functional.softplus(-2 * u))


class TruncatedNormal:
    """Normal variable under the condition that it lies between -1 and 1; mean and std are those before the cut.

    exact: whether the gradient of a sample is that of the inverse distribution function. The published code does not
    differentiate through the cut, so that the sample's gradient is 1 for the mean and (a - mean) / std for the std.
    """

    def __init__(self, mean: Tensor, std: Tensor, exact: bool = False) -> None:
        self.mean, self.std, self.exact = mean.float(), std.float(), exact
        self._low, self._high = (-1 - self.mean) / self.std, (1 - self.mean) / self.std
        self._inside = normal_cdf(self._high) - normal_cdf(self._low)

    @staticmethod
    def bounded(mean: Tensor, std: Tensor, min_std: float, exact: bool = False) -> TruncatedNormal:
        """From network outputs: mean = tanh(mean), std = 2 sigmoid(std / 2) + min_std."""
        return TruncatedNormal(torch.tanh(mean.float()), 2 * torch.sigmoid(std.float() / 2) + min_std, exact)

    def sample(self, noise: Tensor) -> Tensor:
        """Standard-normal noise -> action; noise of exactly zero, which no draw gives, stands for the mode."""
        drawn = self.quantile(normal_cdf(noise), normal_cdf(-noise))
        return torch.where(noise == 0, self.mode, drawn)

    @property
    def mode(self) -> Tensor:
        """The mean, which lies inside."""
        return _clip(self.mean)

    def quantile(self, below: Tensor, above: Tensor) -> Tensor:
        """The action below which the probability is `below`, and above which it is `above` = 1 - below.

        Of the two the smaller one decides: near one the other has lost its digits.
        """
        with torch.no_grad():
            lower = normal_cdf(self._low) + below * self._inside
            upper = normal_cdf(-self._high) + above * self._inside
            z = torch.where(lower <= upper, normal_quantile(lower), -normal_quantile(upper))
        if self.exact:
            density = torch.exp(-0.5 * z.square())
            for side, share in ((self._low, above), (self._high, below)):
                weight = share * torch.exp(-0.5 * side.detach().square()) / density
                z = z + weight * (side - side.detach())
        return _clip(self.mean + self.std * z)

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-density per component of actions between -1 and 1."""
        return Normal(self.mean, self.std).log_prob(action) - torch.log(self._inside)

    def entropy(self) -> Tensor:
        """Entropy in nats per component."""
        low, high = (side * torch.exp(-0.5 * side.square()) for side in (self._low, self._high))
        cut = (low - high) / (math.sqrt(8 * math.pi) * self._inside)
        return Normal(self.mean, self.std).entropy() + torch.log(self._inside) + cut


def _clip(action: Tensor) -> Tensor:
    """Strictly inside of [-1, 1]; keeps its gradient."""
    return action + (action.detach().clamp(-1 + 1e-6, 1 - 1e-6) - action.detach())


def normal_cdf(x: Tensor) -> Tensor:
    """Distribution function of the standard normal."""
    return 0.5 * torch.special.erfc(-x / math.sqrt(2))


# Giles 2012, "Approximating the erfinv function", single precision: coefficients of the two ranges of w.
_CENTRE, _TAIL = (
    [2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087]
    + [-0.00125372503, -0.00417768164, 0.246640727, 1.50140941],
    [-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773]
    + [-0.0076224613, 0.00943887047, 1.00167406, 2.83297682],
)


def normal_quantile(p: Tensor) -> Tensor:
    """Inverse of `normal_cdf` to six digits. Written out, for an exported graph has no such function.

    p: between 0 and 1; small numbers keep their digits, those near one have none. Below 1e-7 it stays at -5.2.
    """
    p = p.clamp(min=1e-7)
    w = -torch.log(4 * p * (1 - p))
    centre, tail = w - 2.5, torch.sqrt(w.clamp(min=5.0)) - 3
    near, far = torch.full_like(w, _CENTRE[0]), torch.full_like(w, _TAIL[0])
    for a, b in zip(_CENTRE[1:], _TAIL[1:], strict=True):
        near, far = a + near * centre, b + far * tail
    return math.sqrt(2) * (2 * p - 1) * torch.where(w < 5, near, far)
