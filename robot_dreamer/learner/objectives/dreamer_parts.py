"""What Dreamer V1, DreamerV2 and DayDreamer compute of imagined states, in functions of tensors that can be compiled.

Each has a gradient for one group of parameters alone: a compiled function computes all the gradients that it has at
once, so what the actor's passes through is called where the networks that it only passes through are `frozen`.
Letters: N starts, H steps, F feature, T judged states of each trajectory, M decisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.dreamer_actor import DreamerActor
from robot_dreamer.behavior.dreamer_losses import (
    ActorLoss,
    Judged,
    actor_loss,
    critic_loss,
    imagined_returns,
    state_weights,
)
from robot_dreamer.behavior.returns import AdvantageScale
from robot_dreamer.config import BehaviorConfig
from robot_dreamer.world_model.whole_batch import JoinRows
from robot_dreamer.world_model.world_model64 import WorldModel64


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Whose parameters need no gradient inside the `with` block."""
    trained = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def judge_states(world: WorldModel64, feature: Tensor, terminal: Tensor, config: BehaviorConfig) -> Judged:
    """Predicted rewards and discounts of imagined states; feature (N, H+1, F), terminal (N) of the starts."""
    discount = 1 - 1 / config.return_horizon
    reward = world.reward(feature).mean
    if world.continuation is None:
        return Judged(reward, torch.full_like(reward, discount))
    live = world.continuation(feature).mean
    if not config.continue_discount:
        live = live * discount
    true = (1 - terminal.float()) * discount
    return Judged(reward, torch.cat((true.unsqueeze(1), live[:, 1:]), 1))


def judge_dreams(
    world: WorldModel64, config: BehaviorConfig, feature: Tensor, terminal: Tensor
) -> tuple[Judged, Tensor]:
    """What is predicted of the judged states, and how much each counts (N, T); arguments as in `judge_states`."""
    judged = judge_states(world, feature, terminal, config)
    judged = Judged(*(x[:, first_judged(config) :] for x in judged))
    return judged, state_weights(judged.live, config)


def foresee_returns(judge: nn.Module, config: BehaviorConfig, feature: Tensor, judged: Judged) -> tuple[Tensor, Tensor]:
    """Values of all states (N, H+1), and returns of the judged ones (N, T-1)."""
    value: Tensor = judge(feature).mean
    return value, imagined_returns(judged, value[:, first_judged(config) :], config)


def loss_of_critic(critic: nn.Module, config: BehaviorConfig, seen: Tensor, returns: Tensor, weight: Tensor) -> Tensor:
    """() of the judged states but the last; seen: features (N, H+1, F), returns (N, T-1), weight (N, T)."""
    return critic_loss(critic(seen[:, first_judged(config) : -1]), returns, weight)


def loss_of_actor(
    actor: DreamerActor,
    gradient: str,
    config: BehaviorConfig,
    join_rows: JoinRows | None,
    seen: Tensor,
    action: dict[str, Tensor],
    returns: Tensor,
    value: Tensor,
    weight: Tensor,
    scale: AdvantageScale,
    entropy_scale: dict[str, Tensor],
) -> ActorLoss:
    """`actor_loss` of the decisions whose return is known; seen: features (N, H+1, F), action (N, H, ...), returns
    (N, T-1), value (N, H+1), weight (N, T)."""
    if config.returns == "arrival" and config.imagine_start:
        returns = returns[:, 1:]
    decisions = returns.shape[1]  # M
    # Where the gradient comes through the actions alone, the policy is only looked at.
    with torch.set_grad_enabled(gradient != "dynamics" or bool(config.entropy or config.entropy_target)):
        policy = actor(seen[:, :decisions])
    return actor_loss(
        policy,
        {name: chosen[:, :decisions] for name, chosen in action.items()},
        returns,
        value[:, :decisions],
        weight[:, :decisions],
        scale,
        entropy_scale,
        gradient,
        config,
        join_rows,
    )


def first_judged(config: BehaviorConfig) -> int:
    """The first imagined state that is judged: the start, or where the first action led to."""
    return 0 if config.imagine_start else 1
