"""Behaviour cloning beside reinforcement: the policy also learns to do what a person did, less and less.

The weight begins at `demonstrations.imitation` and halves every `demonstrations.half_life` updates: a demonstration
shows where to begin, and what is better than it is found in imagination.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robot_dreamer.behavior.actor import total_log_prob
from robot_dreamer.config import Config
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.objectives.parts import Losses, Parts
from robot_dreamer.world_model.rssm import Observed, feature_of

WEIGHT = "imitation/weight"


def imitation_state(config: Config, device: torch.device) -> dict[str, Tensor]:
    """Entries of `Parts.state`; none without imitation."""
    first = config.demonstrations.imitation
    return {WEIGHT: torch.tensor(first, dtype=torch.float32, device=device)} if first else {}


def with_imitation(losses: Losses, parts: Parts, batch: Batch, observed: Observed, group: str) -> Losses:
    """The same losses, and in `group` the policy's mean negative log-likelihood of what a person did.

    The latents are taken as they are: imitation trains the policy alone. Without imitation: the losses as they were.
    """
    if WEIGHT not in parts.state:
        return losses
    weight = parts.state[WEIGHT]
    policy = parts.modules["policy"](feature_of(observed.deter.detach(), observed.stoch.detach()))
    action = {name: value[:, 1:] for name, value in batch.action.items()}
    acted = (batch.demonstrated & ~batch.is_last)[:, 1:]  # the last row of an episode has no action
    loss = -(total_log_prob(policy, action, lead=2) * acted).sum() / acted.sum().clamp(min=1)
    total = losses.groups[group] + weight * loss
    halved = weight * 0.5 ** (1 / parts.config.demonstrations.half_life)
    return losses._replace(
        groups=losses.groups | {group: total},
        terms=losses.terms | {"imitation": loss.detach(), "total": total.detach()},
        metrics=losses.metrics | {WEIGHT: weight.clone()},
        state=losses.state | {WEIGHT: halved},
    )
