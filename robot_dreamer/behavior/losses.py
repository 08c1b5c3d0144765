"""Losses of actor and critic as pure functions (DreamerV3, section "Critic learning" and "Actor learning")."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from robot_dreamer.behavior.actor import ActionDistributions, sum_entries, sum_tail, total_log_prob
from robot_dreamer.behavior.returns import ReturnRange, lambda_return
from robot_dreamer.config import BehaviorConfig
from robot_dreamer.world_model.distributions import Categorical, TwoHot
from robot_dreamer.world_model.whole_batch import JoinRows, whole_batch


class ImaginationLosses(NamedTuple):
    """Result of `imagination_losses`."""

    policy: Tensor
    """(N, H) weighted policy loss per start and step."""
    value: Tensor
    """(N, H) weighted critic loss per start and step."""
    returns: Tensor
    """(N, H) lambda-returns."""
    return_range: ReturnRange
    """Percentiles after this batch."""
    metrics: dict[str, Tensor]
    """Scalars."""


def imagination_losses(
    action: dict[str, Tensor],
    reward: Tensor,
    continuation: Tensor,
    policy: ActionDistributions,
    value: TwoHot,
    slow_value: Tensor,
    return_range: ReturnRange,
    config: BehaviorConfig,
    join_rows: JoinRows | None = None,
) -> ImaginationLosses:
    """Losses on imagined trajectories of H + 1 rows.

    action: (N, H or more, *shape) each; reward, continuation (probability, with the discount where it is folded into
    the head), slow_value (prediction): (N, H+1); policy: over (N, H) or more rows; value: over (N, H+1);
    join_rows: where several processes hold parts of a batch, gives the returns of all of them.

        w_t      = product of the continue probabilities of rows 0 to t
        A_t      = (R_t - v_t) / S,     S the range of the returns including this batch, at least the limit
        policy_t = -w_t (log pi(a_t) A_t + entropy coefficient * entropy_t)
        value_t  =  w_t (CE(v_t, R_t) + regulariser * CE(v_t, slow v_t))
    """
    steps = reward.shape[1] - 1
    discount = 1.0 if config.continue_discount else 1 - 1 / config.return_horizon
    with torch.no_grad():
        live = continuation * discount
        weight = torch.cumprod(live, 1) / discount  # (N, H+1)
        prediction = value.mean  # (N, H+1)
        target = slow_value if config.slow_target else prediction
        returns = lambda_return(reward, live, target, config.lam)  # (N, H)
        return_range = return_range.updated(whole_batch(returns, join_rows), config)
        scale = return_range.scale(config.return_limit)
        advantage = (returns - target[:, :-1]) / scale
    log_prob = total_log_prob(policy, action, lead=2)[:, :steps]
    entropies = {name: sum_tail(distribution.entropy(), 2)[:, :steps] for name, distribution in policy.items()}
    entropy = sum_entries(entropies, 2)
    policy_loss = -weight[:, :-1] * (log_prob * advantage + config.entropy * entropy)
    value_loss = weight[:, :-1] * critic_loss(value, returns, slow_value, config)
    normed = (returns - return_range.low) / scale
    metrics = {
        "advantage/mean": advantage.mean(),
        "advantage/std": advantage.std(correction=0),
        "advantage/magnitude": advantage.abs().mean(),
        "imagined/reward": reward.mean(),
        "imagined/continue": continuation.mean(),
        "imagined/weight": weight.mean(),
        "return/mean": normed.mean(),
        "return/min": normed.min(),
        "return/max": normed.max(),
        "return/rate": (normed.abs() >= 1).float().mean(),
        "return/scale": scale,
        "value/mean": prediction.mean(),
        "value/slow": slow_value.mean(),
        "value/target": returns.mean(),
    }
    for name, distribution in policy.items():
        metrics[f"policy/entropy/{name}"] = entropies[name].detach().mean()
        if isinstance(distribution, Categorical):
            largest = torch.log(torch.tensor(float(distribution.classes)))
            metrics[f"policy/randomness/{name}"] = distribution.entropy().detach()[:, :steps].mean() / largest
    return ImaginationLosses(policy_loss, value_loss, returns, return_range, metrics)


class ReplayLosses(NamedTuple):
    """Result of `replay_losses`."""

    value: Tensor
    """(B, T-1) critic loss."""
    returns: Tensor
    """(B, T-1) returns."""


def replay_losses(
    is_last: Tensor,
    is_terminal: Tensor,
    reward: Tensor,
    bootstrap: Tensor,
    value: TwoHot,
    slow_value: Tensor,
    config: BehaviorConfig,
) -> ReplayLosses:
    """Critic loss on replayed rows (B, T), with returns that bootstrap from the imagined return of each row.

    The end of an episode cuts the lambda trace; only a terminal cuts the bootstrap. The value of the last row of an
    episode and of the window is not trained. Gradient flows through `value` into the world model.
    """
    with torch.no_grad():
        live = (1 - is_terminal.float()) * (1 - 1 / config.return_horizon)
        mix = config.lam * (1 - is_last.float())
        returns = lambda_return(reward.float(), live, bootstrap, mix)  # (B, T-1)
        weight = 1 - is_last.float()[:, :-1]
    return ReplayLosses(weight * critic_loss(value, returns, slow_value, config), returns)


def critic_loss(value: TwoHot, returns: Tensor, slow_value: Tensor, config: BehaviorConfig) -> Tensor:
    """Cross-entropy with the returns (N, T-1), and with the slow critic's prediction (N, T) re-encoded as two-hot.

    value: over (N, T); its last row is not trained. Returns (N, T-1).
    """
    padded = functional.pad(returns.detach(), (0, 1))  # Cheaper than to cut the last row off the logits.
    to_returns, to_slow = value.loss(padded, slow_value.detach())
    return (to_returns + config.slow_regularizer * to_slow)[:, :-1]
