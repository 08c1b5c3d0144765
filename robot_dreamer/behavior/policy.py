"""One acting step: filter the observation, act, predict. This is what a robot runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.policy_head import Policy, sample_actions
from robot_dreamer.world_model.distributions import Categorical, one_hot
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.heads import TwoHotHead, feature_of
from robot_dreamer.world_model.rssm import encode_action
from robot_dreamer.world_model.world_model import WorldModel


class PolicyStep(nn.Module):
    """The acting step; shares its parameters with the modules it is made from. Nothing depends on data in Python."""

    def __init__(self, world_model: WorldModel, policy: Policy, critic: TwoHotHead, actions: Sequence[Field]) -> None:
        super().__init__()
        self.encoder, self.rssm, self.reward = world_model.encoder, world_model.rssm, world_model.reward
        self.policy, self.critic = policy, critic
        self.actions = list(actions)

    def forward(
        self,
        observation: dict[str, Tensor],
        previous_action: dict[str, Tensor],
        deter: Tensor,
        stoch: Tensor,
        is_first: Tensor,
        latent_noise: Tensor,
        action_noise: dict[str, Tensor],
    ) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Act on B robots.

        observation: (B, *shape) each, raw; previous_action: (B, *shape) each, as executed: float in [-1, 1] or integer
        class; deter (B, D) and stoch (B, S, K): state returned by the previous step; is_first: (B) bool, forgets state
        and previous action; latent_noise: (B, S, K) Gumbel noise; action_noise: (B, *shape) standard-normal noise of
        continuous, (B, *shape, classes) Gumbel noise of discrete actions. Zero noise acts by the mode.

        Returns action (B, *shape) each, clipped to [-1, 1] where continuous; deter; stoch; surprise (B), the KL between
        posterior and prior in nats; value (B), the critic's discounted return; reward (B), the predicted reward.
        """
        keep = 1 - is_first.float().unsqueeze(-1)  # (B, 1)
        previous = encode_action(self.actions, previous_action) * keep
        deter = self.rssm.step(deter * keep, stoch * keep.unsqueeze(-1), previous)
        posterior = Categorical(self.rssm.posterior_logits(deter, self.encoder(observation)), self.rssm.unimix)
        prior = Categorical(self.rssm.prior_logits(deter), self.rssm.unimix)
        stoch = one_hot(posterior.sample(latent_noise), posterior.classes)
        feature = feature_of(deter, stoch)
        action = sample_actions(self.policy(feature), action_noise)
        for field in self.actions:
            if field.kind != "discrete":
                action[field.name] = torch.clamp(action[field.name], -1.0, 1.0)
        surprise = posterior.kl(prior).sum(-1)
        return action, deter, stoch, surprise, self.critic(feature).mean, self.reward(feature).mean
