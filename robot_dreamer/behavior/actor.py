"""The policy network: a distribution per action field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.noise import NoisePort
from robot_dreamer.config import BehaviorConfig
from robot_dreamer.world_model.distributions import Categorical, Normal
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.layers import Linear, mlp
from robot_dreamer.world_model.rssm import RSSM, Latents

ActionDistributions = dict[str, "Normal | Categorical"]


class ContinuousHead(nn.Module):
    """Mean and standard deviation of a normal distribution with a bounded mean."""

    def __init__(self, field: Field, units: int, config: BehaviorConfig) -> None:
        super().__init__()
        self.shape, self.config = field.shape, config
        self.mean = Linear(units, field.features, config.policy_outscale)
        self.std = Linear(units, field.features, config.policy_outscale)

    def forward(self, hidden: Tensor) -> Normal:
        """(N, U) -> distribution over (N, *shape)."""
        mean, std = self.mean(hidden).unflatten(-1, self.shape), self.std(hidden).unflatten(-1, self.shape)
        return Normal.bounded(mean, std, self.config.min_std, self.config.max_std)


class DiscreteHead(nn.Module):
    """Logits of a categorical distribution."""

    def __init__(self, field: Field, units: int, config: BehaviorConfig) -> None:
        super().__init__()
        self.shape = (*field.shape, field.classes)
        self.unimix = config.discrete_unimix
        self.logits = Linear(units, field.features, config.policy_outscale)

    def forward(self, hidden: Tensor) -> Categorical:
        """(N, U) -> distribution over (N, *shape)."""
        return Categorical(self.logits(hidden).unflatten(-1, self.shape), self.unimix)


class ActorNetwork(nn.Module):
    """MLP on the feature with one head per action field, in alphabetical order."""

    def __init__(self, fields: Sequence[Field], inputs: int, units: int, config: BehaviorConfig) -> None:
        super().__init__()
        self.fields = list(fields)
        self.trunk = mlp(config.policy_layers, inputs, units)
        self.heads = nn.ModuleList(
            (DiscreteHead if field.kind == "discrete" else ContinuousHead)(field, units, config) for field in fields
        )
        self.noise = tuple(noise_port(field) for field in fields)

    def forward(self, feature: Tensor) -> ActionDistributions:
        """(N, F) -> distribution per action field."""
        hidden = self.trunk(feature)
        return {field.name: head(hidden) for field, head in zip(self.fields, self.heads, strict=True)}

    def act(
        self, rssm: RSSM, heads: Mapping[str, nn.Module], state: Latents, feature: Tensor, noise: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """See `Actor`."""
        by_field = {port.key: noise[port.name] for port in self.noise}
        return sample_actions(self(feature), by_field)


def noise_port(field: Field) -> NoisePort:
    """The noise with which an acting step draws one action."""
    name = f"action_noise_{field.name}"
    if field.kind == "discrete":
        return NoisePort(name, "action_noise", field.name, (*field.shape, field.classes), "gumbel", field.name)
    return NoisePort(name, "action_noise", field.name, field.shape, "normal")


def sample_actions(distributions: ActionDistributions, noise: dict[str, Tensor]) -> dict[str, Tensor]:
    """One action per field; continuous actions are not clipped here."""
    return {name: distribution.sample(noise[name]) for name, distribution in distributions.items()}


def total_log_prob(distributions: ActionDistributions, action: dict[str, Tensor], lead: int) -> Tensor:
    """Log-probability of the actions, summed over fields and entries; the first `lead` axes stay."""
    return sum_entries({name: dist.log_prob(action[name]) for name, dist in distributions.items()}, lead)


def sum_entries(terms: dict[str, Tensor], lead: int) -> Tensor:
    """Sum of the values over all fields and all axes after the first `lead`."""
    return torch.stack([sum_tail(term, lead) for term in terms.values()]).sum(0)


def sum_tail(x: Tensor, lead: int) -> Tensor:
    """Sum over all axes after the first `lead`."""
    return x.reshape(*x.shape[:lead], -1).sum(-1)
