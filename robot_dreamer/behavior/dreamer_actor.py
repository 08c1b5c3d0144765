"""The actor of Dreamer V1, DreamerV2 and DayDreamer: actions through which a gradient flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.action_distributions import TanhNormal, TruncatedNormal
from robot_dreamer.behavior.noise import NoisePort
from robot_dreamer.config import BehaviorConfig, ModelConfig
from robot_dreamer.world_model.distributions import Categorical, Normal
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.layers import GlorotLinear, glorot_mlp
from robot_dreamer.world_model.rssm import RSSM, Latents

ActionDistribution = TanhNormal | TruncatedNormal | Normal | Categorical


class BoundedHead(nn.Module):
    """Mean and standard deviation of a continuous action; the distribution is `behavior.actor`."""

    def __init__(self, field: Field, units: int, config: BehaviorConfig) -> None:
        super().__init__()
        self.shape, self.config = field.shape, config
        self.mean = GlorotLinear(units, field.features, config.policy_outscale)
        self.std = GlorotLinear(units, field.features)

    def forward(self, hidden: Tensor) -> TanhNormal | TruncatedNormal | Normal:
        """(..., U) -> distribution over (..., *shape)."""
        config = self.config
        mean, std = self.mean(hidden).unflatten(-1, self.shape), self.std(hidden).unflatten(-1, self.shape)
        if config.actor == "tanh_normal":
            return TanhNormal.bounded(mean, std, config.init_std, config.min_std)
        if config.actor == "truncated_normal":
            return TruncatedNormal.bounded(mean, std, config.min_std, config.exact_cut)
        # DayDreamer; DreamerV3 adds 2 to the std's number.
        spread = (config.max_std - config.min_std) * torch.sigmoid(std.float()) + config.min_std
        return Normal(torch.tanh(mean.float()), spread)


class ChoiceHead(nn.Module):
    """Logits of a discrete action."""

    def __init__(self, field: Field, units: int, config: BehaviorConfig) -> None:
        super().__init__()
        self.shape, self.unimix = (*field.shape, field.classes), config.discrete_unimix
        self.logits = GlorotLinear(units, field.features, config.policy_outscale)

    def forward(self, hidden: Tensor) -> Categorical:
        """(..., U) -> distribution over (..., *shape)."""
        return Categorical(self.logits(hidden).unflatten(-1, self.shape), self.unimix)


class DreamerActor(nn.Module):
    """MLP on the feature with one head per action field, in alphabetical order."""

    def __init__(self, fields: Sequence[Field], inputs: int, model: ModelConfig, config: BehaviorConfig) -> None:
        super().__init__()
        self.fields, self.exploration = list(fields), config.exploration
        self.trunk = glorot_mlp(inputs, [model.units] * config.policy_layers, model.activation, model.norm)
        self.heads = nn.ModuleList(
            (ChoiceHead if field.kind == "discrete" else BoundedHead)(field, model.units, config) for field in fields
        )
        self.noise = tuple(port for field in fields for port in self._ports(field))

    def forward(self, feature: Tensor) -> dict[str, ActionDistribution]:
        """(..., F) -> distribution per action field."""
        hidden = self.trunk(feature)
        return {field.name: head(hidden) for field, head in zip(self.fields, self.heads, strict=True)}

    def imagine(self, feature: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Actions with gradient: numbers (N, *shape), or one-hot classes (N, *shape, classes) with straight-through.

        The feature gets no gradient: what an action does to the states after it counts, not what chose it. noise: by
        field, as `Noise.action`.
        """
        return {
            name: d.sample_one_hot(noise[name]) if isinstance(d, Categorical) else d.sample(noise[name])
            for name, d in self(feature.detach()).items()
        }

    def act(
        self, rssm: RSSM, heads: Mapping[str, nn.Module], state: Latents, feature: Tensor, noise: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """See `Actor`.

        While experience is collected, a continuous action has normal noise of `behavior.exploration` added, and a
        choice is replaced by a uniform one with that probability. Zero noise gives the mode of both.
        """
        actions = {}
        for field, distribution in zip(self.fields, self(feature).values(), strict=True):
            drawn = noise[f"action_noise_{field.name}"]
            if isinstance(distribution, Categorical):
                mixed = Categorical(distribution.log_probs, self.exploration)
                actions[field.name] = mixed.sample(drawn)
            else:
                actions[field.name] = distribution.sample(drawn)
                if self.exploration:
                    extra = noise[f"explore_noise_{field.name}"]
                    actions[field.name] = actions[field.name] + self.exploration * extra
        return actions

    def _ports(self, field: Field) -> list[NoisePort]:
        name = field.name
        if field.kind == "discrete":
            shape = (*field.shape, field.classes)
            return [NoisePort(f"action_noise_{name}", "action_noise", name, shape, "gumbel", name)]
        prefixes = ("action_noise_", "explore_noise_") if self.exploration else ("action_noise_",)
        return [NoisePort(prefix + name, "action_noise", name, field.shape, "normal") for prefix in prefixes]


def action_features(fields: Sequence[Field], action: Mapping[str, Tensor]) -> Tensor:
    """Actions (N, ...) of `DreamerActor.imagine` -> features (N, A), with gradient.

    As `encode_action`, but that an action beyond -1 or 1 (DayDreamer's normal ones) stays as it is: so the published
    code imagines, and the gradient knows of the excess.
    """
    return torch.cat([action[field.name].flatten(1) for field in fields], -1)
