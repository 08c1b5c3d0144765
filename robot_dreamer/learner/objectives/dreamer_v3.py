"""DreamerV3 (Hafner et al. 2023, code of 2024): world model, critic and actor with one loss and one optimiser."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.actor import ActorNetwork
from robot_dreamer.behavior.imagination import Imagined, imagine, imagine_few, imagine_step
from robot_dreamer.behavior.losses import ImaginationLosses, ReplayLosses, imagination_losses, replay_losses
from robot_dreamer.behavior.noise import UpdateNoise, draw_noise
from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.behavior.returns import ReturnRange
from robot_dreamer.behavior.slow_copy import move_towards
from robot_dreamer.config import Config
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.objectives.dreamer_checks import check_v3
from robot_dreamer.learner.objectives.imitation import imitation_state, with_imitation
from robot_dreamer.learner.objectives.parts import Generation, Losses, Parts, Replayed, observe_batch
from robot_dreamer.world_model.fast.forms import predict
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.heads import TwoHotHead
from robot_dreamer.world_model.losses import continue_label, kl_losses
from robot_dreamer.world_model.rssm import Latents, Observed, feature_of
from robot_dreamer.world_model.whole_batch import JoinRows
from robot_dreamer.world_model.world_model import WorldModel


class AgentLoss(NamedTuple):
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


class Forward(NamedTuple):
    """Everything that one forward pass computes."""

    observed: Observed
    """Posterior latents of the trained rows."""
    imagined: Imagined
    """Imagined trajectories."""
    objective: AgentLoss


def update(parts: Parts, batch: Batch, noise: UpdateNoise) -> Generator[Losses, Tensor, Latents]:
    """One update: a single step of all parameters, then the slow critic follows the critic."""
    observed, _, objective = forward(parts, batch, noise)
    terms = {name: term.mean() for name, term in objective.terms.items()}
    low, high = objective.acting.return_range
    state = {"return_range/low": low, "return_range/high": high}
    losses = Losses({"all": objective.total}, terms | {"total": objective.total.detach()}, objective.metrics, state)
    applied = yield with_imitation(losses, parts, batch, observed, "all")
    rate = parts.config.behavior.slow_rate * applied
    move_towards(parts.modules["slow_critic"], parts.modules["critic"], rate)
    return Latents(observed.deter.detach(), observed.stoch.detach())


def forward(parts: Parts, batch: Batch, noise: UpdateNoise) -> Forward:
    """Filter the replayed rows, imagine from them, and compute all losses; changes nothing."""
    config, rssm, policy = parts.config, parts.world.rssm, parts.modules["policy"]
    replayed, observed = observe_batch(parts, batch, noise.observe)
    last = config.behavior.imagine_last or observed.deter.shape[1]
    starts = Latents(observed.deter[:, -last:].flatten(0, 1).detach(), observed.stoch[:, -last:].flatten(0, 1).detach())
    few = parts.compiled("imagine few", partial(imagine_few, partial(imagine_step, rssm, policy)))
    imagined = imagine(rssm, policy, few, starts, noise.imagine, noise.action)
    return_range = ReturnRange(parts.state["return_range/low"], parts.state["return_range/high"])
    losses = parts.compiled("objective", partial(objective, parts.modules, config, parts.join_rows))
    return Forward(observed, imagined, losses(replayed, observed, imagined, return_range))


def objective(
    modules: Mapping[str, Any],
    config: Config,
    join_rows: JoinRows | None,
    rows: Replayed,
    observed: Observed,
    imagined: Imagined,
    return_range: ReturnRange,
) -> AgentLoss:
    """All losses and their weighted sum.

    Imagination started from the last `behavior.imagine_last` rows of each window (0: from all); join_rows: see
    `imagination_losses`.
    """
    world, policy, critic, slow_critic = (modules[name] for name in ("world_model", "policy", "critic", "slow_critic"))
    behavior = config.behavior
    shape = observed.deter.shape[:2]  # B, T
    deter, stoch = observed.deter.flatten(0, 1), observed.stoch.flatten(0, 1)  # (B T, D), (B T, S, K)

    # World model.
    prior = world.rssm.prior_statistics(deter).unflatten(0, shape)
    kl = kl_losses(world.rssm.latent, observed.posterior, prior, config.model.free_nats)
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
    slow_value = predict(slow_critic, imagined.feature)  # (N, H+1)
    acting = imagination_losses(
        imagined.action,
        predict(world.reward, imagined.feature),
        predict(world.continuation, imagined.feature),
        policy(imagined.feature),
        critic(imagined.feature),
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
        critic(feature[:, -last:]),
        slow_value[:, 0].unflatten(0, starts),  # The trajectories start at these rows.
        behavior,
    )
    terms["replay_value"] = replayed.value

    scales = config.loss_scales
    total = sum(getattr(scales, name.split("/")[0]) * term.mean() for name, term in terms.items())
    terms = {name: term.detach() for name, term in terms.items()}
    metrics = {"kl": kl.kl.mean(), "entropy/prior": kl.prior_entropy, "entropy/posterior": kl.posterior_entropy}
    acting = acting._replace(policy=acting.policy.detach(), value=acting.value.detach())
    return AgentLoss(total, terms, acting, replayed._replace(value=replayed.value.detach()), metrics | acting.metrics)


def build(observations: Sequence[Field], actions: Sequence[Field], config: Config) -> dict[str, nn.Module]:
    """World model, policy, critic and slow critic, which begins as the critic.

    Raises ValueError that names a setting that only an earlier generation has.
    """
    check_v3(config)
    model, behavior = config.model, config.behavior
    world = WorldModel(observations, actions, model, behavior.critic_outscale)
    policy = ActorNetwork(actions, world.feature_size, model.units, behavior)
    critic = TwoHotHead(world.feature_size, behavior.critic_layers, model, behavior.critic_outscale)
    slow_critic = TwoHotHead(world.feature_size, behavior.critic_layers, model, 0.0)
    slow_critic.load_state_dict(critic.state_dict())
    slow_critic.requires_grad_(False)
    return {"world_model": world, "policy": policy, "critic": critic, "slow_critic": slow_critic}


def _state(modules: Mapping[str, Any], config: Config, device: torch.device) -> dict[str, Tensor]:
    low, high = ReturnRange.initial(device)
    return {"return_range/low": low, "return_range/high": high} | imitation_state(config, device)


def _noise(parts: Parts, rows: int, steps: int, generator: torch.Generator) -> UpdateNoise:
    behavior = parts.config.behavior
    starts = rows * (behavior.imagine_last or steps)
    return draw_noise(parts.actions, parts.world.rssm.latent, steps, rows, behavior.horizon, starts, generator)


def _policy_step(modules: Mapping[str, Any], actions: Sequence[Field]) -> PolicyStep:
    world: WorldModel = modules["world_model"]
    return PolicyStep(world, modules["policy"], actions, {"value": modules["critic"], "reward": world.reward})


DREAMER_V3 = Generation(build, {"all": ("world_model", "policy", "critic")}, _state, _noise, update, _policy_step)
