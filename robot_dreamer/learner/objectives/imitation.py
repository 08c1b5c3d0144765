"""Behaviour cloning beside reinforcement: the policy also learns to do what a person did, less and less.

The weight is `demonstrations.imitation` at first and halves every `demonstrations.half_life` updates: a demonstration
shows where to begin, and what is better than it is found in imagination. The state holds the share of it that is left,
so that a resumed run may have another weight.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_dreamer.behavior.actor import total_log_prob
from robot_dreamer.config import Config
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.objectives.parts import Losses, Parts
from robot_dreamer.world_model.rssm import Observed, feature_of
from robot_dreamer.world_model.whole_batch import mean_of_parts

_LEFT = "imitation/left"


def imitation_state(config: Config, device: torch.device) -> dict[str, Tensor]:
    """Entries of `Parts.state`; none without imitation."""
    return {_LEFT: torch.ones((), device=device)} if config.demonstrations.imitation else {}


def with_imitation(losses: Losses, parts: Parts, batch: Batch, observed: Observed, group: str) -> Losses:
    """The same losses, and in `group` the policy's mean negative log-likelihood of what a person did.

    The latents are taken as they are: imitation trains the policy alone. Without imitation: the losses as they were.
    """
    if _LEFT not in parts.state:
        return losses
    settings, left = parts.config.demonstrations, parts.state[_LEFT]
    weight = settings.imitation * left
    policy = parts.modules["policy"](feature_of(observed.deter.detach(), observed.stoch.detach()))
    action = {name: value[:, 1:] for name, value in batch.action.items()}
    acted = (batch.demonstrated & ~batch.is_last)[:, 1:]  # the last row of an episode has no action
    # Of several processes, whose gradients are averaged, perhaps one alone has such rows.
    count = mean_of_parts(acted.sum().float(), parts.join_rows)
    loss = -(total_log_prob(policy, action, lead=2) * acted).sum() / torch.where(count > 0, count, 1.0)
    total = losses.groups[group] + weight * loss
    return losses._replace(
        groups=losses.groups | {group: total},
        terms=losses.terms | {"imitation": loss.detach(), "total": total.detach()},
        metrics=losses.metrics | {"imitation/weight": weight},
        state=losses.state | {_LEFT: left * 0.5 ** (1 / settings.half_life)},
    )
