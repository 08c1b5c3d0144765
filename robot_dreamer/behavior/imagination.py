"""Roll the world model out under the policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from robot_dreamer.behavior.policy_head import Policy, sample_actions
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.heads import feature_of
from robot_dreamer.world_model.rssm import RSSM, Latents, encode_action


class Imagined(NamedTuple):
    """Trajectories of H steps from N starts; entry 0 is the start."""

    deter: Tensor
    """(N, H+1, D)."""
    stoch: Tensor
    """(N, H+1, S, K)."""
    action: dict[str, Tensor]
    """(N, H+1, *shape) each, not clipped; one more than steps."""
    logits: Tensor
    """(N, H, S, K) of the prior at entries 1 to H, before the uniform mix."""


@torch.no_grad()
def imagine(
    rssm: RSSM, policy: Policy, fields: Sequence[Field], start: Latents, noise: Tensor, action_noise: dict[str, Tensor]
) -> Imagined:
    """Imagine from start (N, D), (N, S, K) without gradient.

    noise: (H, N, S, K) Gumbel; action_noise: see `Noise.action`. The losses of actor and critic need no gradient through
    the model: the policy gradient is REINFORCE for every kind of action.
    """
    deter, stoch = start
    deters, stochs, actions, logits = [deter], [stoch], [], []
    for t in range(noise.shape[0]):
        action = _act(policy, deter, stoch, {name: value[t] for name, value in action_noise.items()})
        deter = rssm.step(deter, stoch, encode_action(fields, action))
        logit = rssm.prior_logits(deter)
        stoch = rssm.draw(logit, noise[t])
        actions.append(action)
        deters.append(deter)
        stochs.append(stoch)
        logits.append(logit)
    actions.append(_act(policy, deter, stoch, {name: value[-1] for name, value in action_noise.items()}))
    stacked = {name: torch.stack([action[name] for action in actions], 1) for name in actions[0]}
    return Imagined(torch.stack(deters, 1), torch.stack(stochs, 1), stacked, torch.stack(logits, 1))


def _act(policy: Policy, deter: Tensor, stoch: Tensor, noise: dict[str, Tensor]) -> dict[str, Tensor]:
    return sample_actions(policy(feature_of(deter, stoch)), noise)
