"""Losses of actor and critic of Dreamer V1, DreamerV2 and DayDreamer as pure functions.

Letters: N starts, T judged states of each trajectory, of which the last one only gives the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from robot_dreamer.behavior.actor import sum_entries, sum_tail
from robot_dreamer.behavior.dreamer_actor import ActionDistribution
from robot_dreamer.behavior.returns import AdvantageScale, arrival_return, lambda_return
from robot_dreamer.config import BehaviorConfig
from robot_dreamer.world_model.distributions import Categorical, HalfMSE, Normal, SymlogMSE
from robot_dreamer.world_model.kl_rules import adapted
from robot_dreamer.world_model.whole_batch import JoinRows, mean_of_parts, whole_batch


class Judged(NamedTuple):
    """What the judgement of imagined states needs of them."""

    reward: Tensor
    """(N, T) predicted, with gradient."""
    live: Tensor
    """(N, T) discount, 0 where nothing follows; of a start the true one."""


def state_weights(live: Tensor, config: BehaviorConfig) -> Tensor:
    """How much each state counts (N, T), without gradient: the chance that it comes about at all.

    w_t = live_0 ... live_{t-1}                         arrival: Dreamer V1, DreamerV2
    w_t = live_0 ... live_t / discount                  departure: DayDreamer
    """
    live = live.detach()
    if config.returns == "departure":
        return torch.cumprod(live, 1) / (1 - 1 / config.return_horizon)
    return torch.cumprod(torch.cat((torch.ones_like(live[:, :1]), live[:, :-1]), 1), 1)


def imagined_returns(judged: Judged, value: Tensor, config: BehaviorConfig) -> Tensor:
    """Lambda-returns (N, T-1) with gradient; value: (N, T)."""
    returns = arrival_return if config.returns == "arrival" else lambda_return
    return returns(judged.reward, judged.live, value, config.lam)


def critic_loss(value: HalfMSE | SymlogMSE, returns: Tensor, weight: Tensor) -> Tensor:
    """() weighted distance of the values (N, T-1) to the returns (N, T-1), which get no gradient."""
    return (weight[:, :-1] * value.loss(returns.detach())).mean()


class ActorLoss(NamedTuple):
    """Result of `actor_loss`."""

    loss: Tensor
    """() with gradient."""
    advantage: AdvantageScale
    """After this batch."""
    entropy_scale: dict[str, Tensor]
    """Weight of the entropy by action, (*shape) for numbers and () for choices, after this batch."""
    metrics: dict[str, Tensor]
    """() each."""


def actor_loss(
    policy: Mapping[str, ActionDistribution],
    action: Mapping[str, Tensor],
    returns: Tensor,
    baseline: Tensor,
    weight: Tensor,
    scale: AdvantageScale,
    entropy_scale: Mapping[str, Tensor],
    gradient: str,
    config: BehaviorConfig,
    join_rows: JoinRows | None = None,
) -> ActorLoss:
    """Loss of M decisions of each of N trajectories, mean over all of them.

        dynamics     -w_t R_t                    through actions, model, reward head and critic
        reinforce    -w_t log pi(a_t) (R_t - b_t)
        mix          both, by `dynamics_share`
        entropy      -w_t eta H(pi_t)

    With `advantage_rate` both use the normalised advantage in the place of R_t and R_t - b_t; with `entropy_target` the
    weight of the entropy adapts itself, and the entropy is counted as a share of the policy's span.

    policy: over (N, M); action (N, M, ...), as `DreamerActor.imagine` gave them; returns, baseline (N, M): of what each
    action led to; weight (N, M); join_rows: where several processes hold parts of a batch, gives the rows of all.
    """
    advantage = returns - baseline
    through = returns
    if config.advantage_rate:
        scale = scale.updated(whole_batch(advantage, join_rows), config.advantage_rate)
        through = advantage = scale.normalise(advantage, config.advantage_rate)
    terms = []
    if gradient != "reinforce":
        terms.append((config.dynamics_share if gradient == "mix" else 1.0) * through)
    if gradient != "dynamics":
        # As published, an action keeps its gradient in the mixture; see `log_prob_of_action`.
        kept = action if gradient == "mix" else {name: value.detach() for name, value in action.items()}
        log_prob = sum_entries({name: log_prob_of_action(policy[name], kept[name]) for name in policy}, 2)
        terms.append((1 - config.dynamics_share if gradient == "mix" else 1.0) * log_prob * advantage.detach())
    objective = torch.stack(terms).sum(0)

    entropies = {name: policy[name].entropy() for name in policy}  # (N, M, ...)
    metrics = {f"policy/entropy/{name}": sum_tail(h, 2).detach().mean() for name, h in entropies.items()}
    new_scale = dict(entropy_scale)
    if config.entropy_target:
        for name, entropy in entropies.items():
            low, high = entropy_span(policy[name], config)
            share = (entropy - low) / (high - low)
            now = mean_of_parts(share.mean((0, 1)), join_rows)
            new_scale[name] = adapted(entropy_scale[name], now, config.entropy_target, 1e-5, 1.0, inverse=True)
            objective = objective + sum_tail(new_scale[name] * share, 2)
            metrics[f"policy/randomness/{name}"] = now.mean()
    elif config.entropy:
        objective = objective + config.entropy * sum_entries(entropies, 2)
    metrics["advantage/magnitude"] = advantage.detach().abs().mean()
    metrics["value/target"] = returns.detach().mean()
    return ActorLoss(-(weight * objective).mean(), scale, new_scale, metrics)


def log_prob_of_action(distribution: ActionDistribution, action: Tensor) -> Tensor:
    """Log-probability per entry of an action as `DreamerActor.imagine` gives it.

    One-hot classes get no gradient from it, numbers do if they have one: so the published code mixes both estimators.
    """
    if isinstance(distribution, Categorical):
        return (distribution.log_probs * action.detach()).sum(-1)
    return distribution.log_prob(action)


def entropy_span(distribution: ActionDistribution, config: BehaviorConfig) -> tuple[float, float]:
    """Entropy per entry of the least and of the most random policy of this kind.

    Raises ValueError for a distribution whose span is not known.
    """
    if isinstance(distribution, Categorical):
        return 0.0, math.log(distribution.classes)
    if isinstance(distribution, Normal):
        constant = 0.5 * math.log(2 * math.pi * math.e)
        return math.log(config.min_std) + constant, math.log(config.max_std) + constant
    raise ValueError(
        f"behavior.entropy_target: expected behavior.actor normal, whose entropy has known bounds, found {config.actor}"
    )
