"""World Models (Ha & Schmidhuber 2018): V learns to see, then M to expect, then C to act in dreams of M; and again.

The original went through the three stages once, on 10,000 episodes of a random policy. Here the rounds follow each
other while experience grows (its section "iterative training procedure"), and M foretells reward and end, so that C
meets the world only when it is handed over.
"""

from __future__ import annotations

import logging
from collections.abc import Generator

import torch
from torch import Tensor

from robot_dreamer.behavior.dreams import DreamNoise, DreamStart, dream_returns
from robot_dreamer.behavior.noise import UpdateNoise
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.objectives.parts import Generation, Losses, Parts
from robot_dreamer.learner.objectives.world_models_parts import (
    acting_step,
    build_networks,
    draw_noise,
    first_state,
    search_of,
    search_state,
    stage_at,
)
from robot_dreamer.world_model.mdn import done_loss, mixture_loss
from robot_dreamer.world_model.rssm import Latents, Observed, encode_action
from robot_dreamer.world_model.vision import vision_kl_loss
from robot_dreamer.world_model.vision_memory import VisionMemory

_log = logging.getLogger(__name__)
_VISION, _MEMORY = ("world_model.encoder", "world_model.decoder"), ("world_model.rssm",)
DONE_FACTOR = 10.0  # weight of the rows that end an episode (doomrnn)


def update(parts: Parts, batch: Batch, noise: UpdateNoise) -> Generator[Losses, Tensor, Latents | None]:
    """One update of whichever of the three has its turn."""
    position = parts.state["stages/position"]
    stage, done = stage_at(int(position), parts.config.stages)
    turn = {"stages/position": position + 1}
    if stage == "vision":
        yield from see(parts, batch, noise, turn)
        return None
    if stage == "memory":
        return (yield from expect(parts, batch, noise, turn))
    return (yield from act(parts, batch, noise, turn, done + 1))


def see(parts: Parts, batch: Batch, noise: UpdateNoise, turn: dict[str, Tensor]) -> Generator[Losses, Tensor, None]:
    """V: reconstruct some rows of the batch from their code."""
    world, config = _world(parts), parts.config
    rows = batch.reward[:, 1:].numel()
    chosen = (noise.other["rows"] * rows).long()  # (R)
    observation = {name: value[:, 1:].flatten(0, 1)[chosen] for name, value in batch.observation.items()}
    code = world.encoder(observation)  # (R, 2 S)
    z = world.rssm.latent.draw(code, noise.other["code"])
    terms = {f"reconstruction/{k}": loss.mean() for k, loss in world.decoder.losses(z, observation).items()}
    total = config.loss_scales.reconstruction * sum(terms.values(), torch.zeros(()))
    terms["representation"] = vision_kl_loss(code, config.model.free_nats).mean()
    total = total + terms["representation"]
    yield Losses({"vision": total}, {name: term.detach() for name, term in terms.items()}, {}, turn)


def expect(
    parts: Parts, batch: Batch, noise: UpdateNoise, turn: dict[str, Tensor]
) -> Generator[Losses, Tensor, Latents]:
    """M: foretell each row's code, reward and end from the rows before it."""
    scales, observed = parts.config.loss_scales, remember(parts, batch, noise)
    row = _world(parts).rssm.predict(observed.deter)
    assert row.reward is not None and row.done_logit is not None
    live = 1 - batch.is_first[:, 1:].float()  # (B, T): nothing foretells how an episode begins
    errors = {
        "memory": mixture_loss(row.latent, observed.stoch),
        "reward": (row.reward - batch.reward[:, 1:].float()).square(),
        "continuation": done_loss(row.done_logit, batch.is_terminal[:, 1:].float(), DONE_FACTOR),
    }
    terms = {name: (error * live).sum() / live.sum().clamp(min=1) for name, error in errors.items()}
    total = sum((getattr(scales, name) * term for name, term in terms.items()), torch.zeros(()))
    yield Losses({"memory": total}, {name: term.detach() for name, term in terms.items()}, {}, turn)
    return Latents(observed.deter.detach(), observed.stoch)


def act(
    parts: Parts, batch: Batch, noise: UpdateNoise, turn: dict[str, Tensor], generation: int
) -> Generator[Losses, Tensor, Latents]:
    """C: one generation in dreams of M; generation: of this stage, from 1.

    What is handed over, and reported, is the mean of the distribution, dreamt anew beside the candidates.
    """
    world, controller, config = _world(parts), parts.modules["policy"], parts.config.evolution
    with torch.no_grad():
        observed = remember(parts, batch, noise)
    search = search_of(controller, parts.config, parts.state)
    candidates = search.ask(noise.other["candidates"])
    everyone = torch.cat((candidates, search.mean[None])).to(observed.deter)  # (P + 1, n)
    start = _starts(world, observed, batch, config.from_beginning, noise.other["starts"])
    draws = DreamNoise(noise.other["uniform"], noise.other["normal"])
    fitness = dream_returns(world.rssm.memory, controller, everyone, start, draws, config.temperature).mean(1)
    # A candidate in whose dreams M lost itself counts as the worst of those that came through.
    came_through = torch.isfinite(fitness)
    fitness = torch.where(came_through, fitness, torch.where(came_through, fitness, torch.inf).min())
    state, restarts = dict(turn), parts.state["evolution/restarts"]
    metrics = {"dream/diverged": (~came_through).sum()}
    if not came_through.any():
        # Only its own stage can mend M, so the turn goes on, and the search stays where it is.
        _log.warning("evolution: M lost itself in every dream; this generation is left out")
        fitness = torch.zeros_like(fitness)
    else:
        metrics |= {"dream/return": fitness[-1], "dream/spread": fitness[:-1].std()}
        search.tell(candidates, fitness[:-1].cpu())
        if not search.sigma <= config.sigma_limit:
            _log.warning("evolution: step size %g is above %g: beginning again", search.sigma, config.sigma_limit)
            search.restart()
            restarts = restarts + 1
        state |= search_state(search, restarts.device)
        state["evolution/restarts"] = restarts
    metrics |= {"evolution/sigma": fitness.new_tensor(search.sigma), "evolution/restarts": restarts}
    applied = yield Losses({}, {"controller": -fitness.mean()}, metrics, state)
    due = generation % config.deploy_every == 0 or generation == parts.config.stages.controller
    if due and bool(applied) and bool(came_through.any()):
        controller.hand_over(search.mean, config.exploration)
        parts.modules["acting"].take(world)
    return Latents(observed.deter, observed.stoch)


def remember(parts: Parts, batch: Batch, noise: UpdateNoise) -> Observed:
    """Codes of all rows by V as it is now, and M's state at rows 1 to T; row 0, whose state was stored, begins."""
    rssm, config = parts.world.rssm, parts.config
    lead = batch.reward.shape  # B, T + 1
    with torch.no_grad():
        tokens = parts.world.encoder({name: value.flatten(0, 1) for name, value in batch.observation.items()})
    tokens = tokens.unflatten(0, lead)
    stored = batch.deter.float() if config.replay_context == "stored" else rssm.initial(lead[0]).deter
    start = Latents(stored, rssm.latent.draw(tokens[:, 0], noise.observe[0]))
    previous = {name: value[:, :-1].flatten(0, 1) for name, value in batch.action.items()}
    action = encode_action(parts.actions, previous).unflatten(0, (lead[0], -1))
    keep = 1 - batch.is_first[:, 1:].float()
    return rssm.observe(start, tokens[:, 1:], action, keep, noise.observe[1:], rssm.few(parts.compiled))


def _world(parts: Parts) -> VisionMemory:
    world: VisionMemory = parts.modules["world_model"]
    return world


def _starts(world: VisionMemory, observed: Observed, batch: Batch, share: float, draws: Tensor) -> DreamStart:
    """Rows in which the dreams begin, drawn by uniform numbers (D): a share of them where an episode began, if the
    batch has such rows, the others anywhere but after an end."""
    h, c, restart = world.rssm.split(observed.deter.flatten(0, 1))
    anywhere = torch.nonzero(~batch.is_terminal[:, 1:].flatten()).squeeze(-1)
    first = torch.nonzero(batch.is_first[:, 1:].flatten()).squeeze(-1)
    count = round(share * len(draws)) if len(first) else 0
    chosen = torch.cat(
        [rows[(u * len(rows)).long()] for rows, u in ((first, draws[:count]), (anywhere, draws[count:]))]
    )
    flag = None if restart is None else restart[chosen]
    return DreamStart(observed.stoch.flatten(0, 1)[chosen], h[chosen], c[chosen], flag)


WORLD_MODELS = Generation(
    build_networks, {"vision": _VISION, "memory": _MEMORY}, first_state, draw_noise, update, acting_step
)
