"""Roll the world model out under the policy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from robot_dreamer.behavior.policy_head import Policy, sample_actions
from robot_dreamer.world_model.rssm import RSSM, Latents, SplitKernel, encode_action
from robot_dreamer.world_model.scan_layers import product_dtype


class Imagined(NamedTuple):
    """Trajectories of H steps from N starts; entry 0 is the start."""

    feature: Tensor
    """(N, H+1, F): deter (D), then stoch flattened (S * K); in the precision of the matrix products."""
    action: dict[str, Tensor]
    """(N, H+1, *shape) each, not clipped; one more than steps."""
    logits: Tensor
    """(N, H, S, K) of the prior at entries 1 to H, before the uniform mix."""


class Dream(NamedTuple):
    """One imagined step."""

    action: dict[str, Tensor]
    """(N, *shape) each, chosen at the entry before."""
    deter: Tensor
    """(N, D)."""
    stoch: Tensor
    """(N, S, K)."""
    logits: Tensor
    """(N, S, K) of the prior, before the uniform mix."""


Step = Callable[[Tensor, Tensor, Tensor, SplitKernel, Tensor, dict[str, Tensor]], Dream]


def imagine_step(
    rssm: RSSM,
    policy: Policy,
    feature: Tensor,
    deter: Tensor,
    stoch: Tensor,
    split: SplitKernel,
    noise: Tensor,
    action_noise: dict[str, Tensor],
) -> Dream:
    """Act on feature (N, F), then step the model from deter (N, D), stoch (N, S, K) with Gumbel noise (N, S, K)."""
    action = sample_actions(policy(feature), action_noise)
    deter = rssm.step(deter, stoch, encode_action(policy.fields, action), split)
    logits = rssm.prior_logits(deter)
    return Dream(action, deter, rssm.draw(logits, noise), logits)


@torch.no_grad()
def imagine(
    rssm: RSSM,
    policy: Policy,
    start: Latents,
    noise: Tensor,
    action_noise: dict[str, Tensor],
    step: Step | None = None,
) -> Imagined:
    """Imagine from start (N, D), (N, S, K) without gradient.

    noise: (H, N, S, K) Gumbel; action_noise: see `Noise.action`; step: `imagine_step` of this model and
    policy, or a compiled form of it. The losses of actor and critic need no gradient through the model: the policy
    gradient is REINFORCE for every kind of action.
    """
    step = step or partial(imagine_step, rssm, policy)
    deter, stoch = start
    steps, rows, width = noise.shape[0], deter.shape[0], deter.shape[1]
    split = rssm.split_kernel()
    # One buffer that the heads read as it is; concatenating and stacking would copy it twice more.
    feature = deter.new_empty(rows, steps + 1, width + stoch[0].numel(), dtype=product_dtype(deter))
    actions: list[dict[str, Tensor]] = []
    logits = []
    for t in range(steps + 1):
        feature[:, t, :width] = deter
        feature[:, t, width:] = stoch.flatten(1)
        noise_now = {name: value[t] for name, value in action_noise.items()}
        if t == steps:
            actions.append(sample_actions(policy(feature[:, t]), noise_now))
            break
        dream = step(feature[:, t], deter, stoch, split, noise[t], noise_now)
        deter, stoch = dream.deter, dream.stoch
        actions.append(dream.action)
        logits.append(dream.logits)
    stacked = {name: torch.stack([action[name] for action in actions], 1) for name in actions[0]}
    return Imagined(feature, stacked, torch.stack(logits, 1))
