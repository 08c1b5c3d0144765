"""PlaNet (Hafner et al. 2019): a world model and nothing else; the behaviour is a search in it (`behavior/planner.py`).

The parts of the model are configuration, so this page also trains Dreamer V1's model for a planner.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.noise import UpdateNoise, latent_noise
from robot_dreamer.behavior.planner import Planner
from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.config import Config
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.objectives.parts import Generation, Losses, Parts, Replayed, observe_batch
from robot_dreamer.world_model.encoder import image_channels
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.gru_cells import GRU_CELLS
from robot_dreamer.world_model.kl_rules import kl_loss
from robot_dreamer.world_model.losses import continue_label
from robot_dreamer.world_model.overshooting import overshoot, overshooting_loss
from robot_dreamer.world_model.rssm import Latents, Observed, feature_of
from robot_dreamer.world_model.whole_batch import JoinRows
from robot_dreamer.world_model.world_model64 import WorldModel64


class ModelLoss(NamedTuple):
    """Result of `objective`."""

    total: Tensor
    """() weighted sum of the terms; the only entry with a gradient."""
    terms: dict[str, Tensor]
    """() unweighted losses."""
    metrics: dict[str, Tensor]
    """() each."""
    kl_scale: Tensor
    """() of this update; moves where the rule is `adaptive`."""


def update(parts: Parts, batch: Batch, noise: UpdateNoise) -> Generator[Losses, Tensor, Latents]:
    """One update: filter the replayed rows, and a single step with the loss of the whole model."""
    rows, observed = observe_batch(parts, batch, noise.observe, noise.other.get("pixels"))
    losses = parts.compiled("objective", partial(objective, parts.modules, parts.config, join_rows=parts.join_rows))
    found = losses(rows, observed, noise.other, observed.deter.new_ones(()))
    yield Losses({"all": found.total}, found.terms | {"total": found.total.detach()}, found.metrics, {})
    return Latents(observed.deter.detach(), observed.stoch.detach())


def objective(
    modules: Mapping[str, Any],
    config: Config,
    rows: Replayed,
    observed: Observed,
    noise: Mapping[str, Tensor],
    kl_scale: Tensor,
    join_rows: JoinRows | None = None,
) -> ModelLoss:
    """Negative evidence lower bound (equation 3): what is seen, the reward, and the KL of posterior and prior.

    Also of the models of Dreamer V1, DreamerV2 and DayDreamer, which may learn whether an episode goes on too. noise:
    "pixels" as the encoder had it, "overshooting" (D, B, T, *latent.shape); kl_scale: () before this update.
    join_rows: where several processes hold parts of a batch, gives the rows of all of them.
    """
    world: WorldModel64 = modules["world_model"]
    model, rssm = config.model, world.rssm
    feature = feature_of(observed.deter, observed.stoch)  # (B, T, F)

    # Observations and reward: unit normals, summed over pixels, averaged over rows.
    seen = world.decoder.losses(feature.flatten(0, 1), rows.observation, noise.get("pixels"))
    terms = {f"reconstruction/{name}": loss.mean() for name, loss in seen.items()}
    reward = torch.tanh(rows.reward) if model.tanh_rewards else rows.reward
    terms["reward"] = world.reward(feature).loss(reward).mean()
    if world.continuation is not None:
        label = continue_label(rows.is_terminal, config.behavior.return_horizon, config.behavior.continue_discount)
        terms["continuation"] = world.continuation(feature).loss(label).mean()

    # KL: PlaNet subtracts the free nats from each row.
    prior = rssm.prior_statistics(observed.deter)
    kl = kl_loss(
        model.kl_rule, rssm.latent, observed.posterior, prior, model.free_nats, model.kl_balance, kl_scale, join_rows
    )
    terms["kl"] = kl.loss
    if model.overshooting:
        shot = overshoot(rssm, observed, rows.action, rows.keep, noise["overshooting"])
        terms["overshooting"] = overshooting_loss(shot, model.free_nats).mean()

    total = torch.stack([getattr(config.loss_scales, name.split("/")[0]) * term for name, term in terms.items()]).sum()
    entropies = {
        f"entropy/{name}": rssm.latent(statistics).entropy().detach().flatten(2).sum(-1).mean()
        for name, statistics in (("prior", prior), ("posterior", observed.posterior))
    }
    return ModelLoss(
        total, {k: term.detach() for k, term in terms.items()}, {"kl": kl.value.mean(), **entropies}, kl.scale
    )


def build(observations: Sequence[Field], actions: Sequence[Field], config: Config) -> dict[str, nn.Module]:
    """World model, and the planner, which has no parameters.

    Raises ValueError for actions or settings of the model that this generation does not have.
    """
    if config.model.cell not in GRU_CELLS or config.model.kl_rule in ("dyn_rep", "adaptive"):
        raise ValueError(
            f"objective planet: expected model.cell one of {', '.join(GRU_CELLS)} and "
            f"model.kl_rule one of hinge, floor_of_mean, balanced, found {config.model.cell} and "
            f"{config.model.kl_rule}; begin with the preset planet, dreamer_v1 or dreamer_v2"
        )
    world = WorldModel64(observations, actions, config.model)
    return {"world_model": world, "planner": Planner(actions, world.rssm.latent, config.planner)}


def _noise(parts: Parts, rows: int, steps: int, generator: torch.Generator) -> UpdateNoise:
    model, latent = parts.config.model, parts.world.rssm.latent
    other: dict[str, Tensor] = {}
    world: WorldModel64 = parts.modules["world_model"]
    channels = image_channels(world.encoder.image_fields)
    if channels and model.pixel_code == "five_bit":
        shape = (rows * steps, 64, 64, channels)
        other["pixels"] = torch.rand(shape, generator=generator, device=generator.device)
    if model.overshooting:
        other["overshooting"] = latent_noise(latent, (model.overshooting, rows, steps), generator)
    observe = latent_noise(latent, (steps, rows), generator)
    return UpdateNoise(observe, observe.new_zeros(0), {}, other)


def _policy_step(modules: Mapping[str, Any], actions: Sequence[Field]) -> PolicyStep:
    world: WorldModel64 = modules["world_model"]
    return PolicyStep(world, modules["planner"], actions, {"reward": world.reward})


PLANET = Generation(build, {"all": ("world_model",)}, lambda modules, config, device: {}, _noise, update, _policy_step)
