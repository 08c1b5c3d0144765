"""The losses of everything that is trained, from filtered and imagined trajectories."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from robot_dreamer.behavior.imagination import Imagined
from robot_dreamer.behavior.losses import ImaginationLosses, ReplayLosses, imagination_losses, replay_losses
from robot_dreamer.behavior.policy_head import Policy
from robot_dreamer.behavior.returns import ReturnRange
from robot_dreamer.config import Config
from robot_dreamer.world_model.heads import TwoHotHead, feature_of, predict
from robot_dreamer.world_model.losses import continue_label, kl_losses
from robot_dreamer.world_model.rssm import Observed
from robot_dreamer.world_model.world_model import WorldModel


class Networks(NamedTuple):
    """What the objective evaluates."""

    world_model: WorldModel
    policy: Policy
    critic: TwoHotHead
    slow_critic: TwoHotHead


class Rows(NamedTuple):
    """Replayed rows as the losses need them."""

    observation: dict[str, Tensor]
    """(B T, *shape) each."""
    reward: Tensor
    """(B, T) float."""
    is_last: Tensor
    """(B, T) bool."""
    is_terminal: Tensor
    """(B, T) bool."""


class Objective(NamedTuple):
    """Result of `objective`."""

    total: Tensor
    """() weighted sum of the mean of each term; the only entry with a gradient."""
    terms: dict[str, Tensor]
    """Unweighted losses per row, (B, T) or (B, T-1)."""
    acting: ImaginationLosses
    """Returns and losses on the imagined trajectories."""
    replayed: ReplayLosses
    """Returns and critic loss on the replayed trajectories."""
    metrics: dict[str, Tensor]
    """Scalars."""


def objective(
    networks: Networks,
    config: Config,
    join_rows: Callable[[Tensor], Tensor] | None,
    rows: Rows,
    observed: Observed,
    imagined: Imagined,
    return_range: ReturnRange,
) -> Objective:
    """All losses and their weighted sum.

    Imagination started from the last `behavior.imagine_last` rows of each window (0: from all); join_rows: see
    `imagination_losses`.
    """
    world, behavior = networks.world_model, config.behavior
    shape = observed.deter.shape[:2]  # B, T
    deter, stoch = observed.deter.flatten(0, 1), observed.stoch.flatten(0, 1)  # (B T, D), (B T, S, K)

    # World model.
    prior_logits = world.rssm.prior_logits(deter).unflatten(0, shape)
    kl = kl_losses(observed.logits, prior_logits, config.model.unimix, config.model.free_nats)
    feature = feature_of(observed.deter, observed.stoch)  # (B, T, F)
    label = continue_label(rows.is_terminal, behavior.return_horizon, behavior.continue_discount)
    terms = {
        "dynamics": kl.dynamics,
        "representation": kl.representation,
        "reward": world.reward(feature).loss(rows.reward)[0],
        "continuation": world.continuation(feature).loss(label),
    }
    for name, loss in world.decoder.losses(deter, stoch, rows.observation).items():
        terms[f"reconstruction/{name}"] = loss.unflatten(0, shape)

    # Actor and critic, on imagined trajectories.
    slow_value = predict(networks.slow_critic, imagined.feature)  # (N, H+1)
    acting = imagination_losses(
        imagined.action,
        predict(world.reward, imagined.feature),
        predict(world.continuation, imagined.feature),
        networks.policy(imagined.feature),
        networks.critic(imagined.feature),
        slow_value,
        return_range,
        behavior,
        join_rows,
    )
    last = behavior.imagine_last or shape[1]
    starts = (shape[0], last)  # N = B times last
    terms["policy"] = acting.policy.mean(1).unflatten(0, starts)
    terms["value"] = acting.value.mean(1).unflatten(0, starts)

    # Critic, on the replayed trajectory; its gradient reaches the world model.
    replayed = replay_losses(
        rows.is_last[:, -last:],
        rows.is_terminal[:, -last:],
        rows.reward[:, -last:],
        acting.returns[:, 0].unflatten(0, starts),
        networks.critic(feature[:, -last:]),
        slow_value[:, 0].unflatten(0, starts),  # The trajectories start at these rows.
        behavior,
    )
    terms["replay_value"] = replayed.value

    scales = config.loss_scales
    total = sum(getattr(scales, name.split("/")[0]) * term.mean() for name, term in terms.items())
    terms = {name: term.detach() for name, term in terms.items()}
    metrics = {f"loss/{name}": term.mean() for name, term in terms.items()}
    metrics["loss/total"] = total.detach()
    metrics |= {"kl": kl.kl.mean(), "entropy/prior": kl.prior_entropy, "entropy/posterior": kl.posterior_entropy}
    metrics |= acting.metrics
    acting = acting._replace(policy=acting.policy.detach(), value=acting.value.detach())
    return Objective(total, terms, acting, replayed._replace(value=replayed.value.detach()), metrics)
