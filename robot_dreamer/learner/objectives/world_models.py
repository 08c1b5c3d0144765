"""World Models (Ha & Schmidhuber 2018): V learns to see, then M to expect, then C to act in dreams of M; and again.

The original went through the three stages once, on 10,000 episodes of a random policy. Here the rounds follow each
other while experience grows (its section "iterative training procedure"), and M foretells reward and end, so that C
meets the world only when it is handed over.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robot_dreamer.behavior.dreams import DreamNoise, DreamStart, dream_returns
from robot_dreamer.behavior.evolution import Evolution, LinearController
from robot_dreamer.behavior.noise import UpdateNoise
from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.config import Config, StagesConfig
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.objectives.parts import Generation, Losses, Parts
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.mdn import done_loss, mixture_loss
from robot_dreamer.world_model.rssm import Latents, Observed, encode_action
from robot_dreamer.world_model.vision import vision_kl_loss
from robot_dreamer.world_model.vision_memory import ActingCopy, RewardOutput, VisionMemory

_log = logging.getLogger(__name__)
_SEARCH = "evolution/search/"  # prefix in the state
_VISION, _MEMORY = ("world_model.encoder", "world_model.decoder"), ("world_model.rssm",)
DONE_FACTOR = 10.0  # weight of the rows that end an episode (doomrnn)
Stage = Literal["vision", "memory", "controller"]


def stage_at(position: int, stages: StagesConfig) -> tuple[Stage, int]:
    """The stage of an update, and how many of its updates are done; position: updates before it."""
    left = position % (stages.vision + stages.memory + stages.controller)
    if left < stages.vision:
        return "vision", left
    left -= stages.vision
    return ("memory", left) if left < stages.memory else ("controller", left - stages.memory)


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
    search = _search(controller, parts.config, parts.state)
    candidates = search.ask(noise.other["candidates"])
    everyone = torch.cat((candidates, search.mean[None])).to(observed.deter)  # (P + 1, n)
    start = _starts(world, observed, batch, config.from_beginning, noise.other["starts"])
    draws = DreamNoise(noise.other["uniform"], noise.other["normal"])
    fitness = dream_returns(world.rssm.memory, controller, everyone, start, draws, config.temperature).mean(1)
    # A candidate in whose dreams M lost itself counts as the worst of those that came through.
    came_through = torch.isfinite(fitness)
    fitness = torch.where(came_through, fitness, torch.where(came_through, fitness, torch.inf).min())
    metrics = {"dream/return": fitness[-1], "dream/spread": fitness[:-1].std(), "dream/diverged": (~came_through).sum()}
    state, restarts = dict(turn), parts.state["evolution/restarts"]
    if came_through.any():
        search.tell(candidates, fitness[:-1].cpu())
        if not search.sigma <= config.sigma_limit:
            _log.warning("evolution: step size %g is above %g: beginning again", search.sigma, config.sigma_limit)
            search.restart()
            restarts = restarts + 1
        state |= {f"{_SEARCH}{name}": value for name, value in search.tensors().items()}
        state["evolution/restarts"] = restarts
    metrics |= {"evolution/sigma": fitness.new_tensor(search.sigma), "evolution/restarts": restarts}
    applied = yield Losses({}, {"controller": -fitness.mean()}, metrics, state)
    due = generation % config.deploy_every == 0 or generation == parts.config.stages.controller
    if due and bool(applied):
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
    return rssm.observe(start, tokens[:, 1:], action, keep, noise.observe[1:], rssm.row(parts.compiled))


def _world(parts: Parts) -> VisionMemory:
    world: VisionMemory = parts.modules["world_model"]
    return world


def _starts(world: VisionMemory, observed: Observed, batch: Batch, share: float, draws: Tensor) -> DreamStart:
    """Rows in which the dreams begin, drawn by uniform numbers (D): a share of them where an episode began, if the
    batch has such rows, the others anywhere but after an end."""
    h, c, _ = world.rssm.split(observed.deter.flatten(0, 1))
    anywhere = torch.nonzero(~batch.is_terminal[:, 1:].flatten()).squeeze(-1)
    first = torch.nonzero(batch.is_first[:, 1:].flatten()).squeeze(-1)
    count = round(share * len(draws)) if len(first) else 0
    chosen = torch.cat(
        [rows[(u * len(rows)).long()] for rows, u in ((first, draws[:count]), (anywhere, draws[count:]))]
    )
    return DreamStart(observed.stoch.flatten(0, 1)[chosen], h[chosen], c[chosen])


def _search(controller: LinearController, config: Config, state: Mapping[str, Tensor] | None = None) -> Evolution:
    """The search as it stands in a state, or at its beginning."""
    own = None if state is None else {k.removeprefix(_SEARCH): v for k, v in state.items() if k.startswith(_SEARCH)}
    return Evolution(controller.parameter_count, config.evolution.population, config.evolution.sigma, own)


def _build(observations: Sequence[Field], actions: Sequence[Field], config: Config) -> dict[str, nn.Module]:
    model = config.model
    if (model.cell, model.latent, model.std_rule, model.deter % 2) != ("lstm", "numbers", "log_variance", 0):
        raise ValueError(
            "objective world_models: expected model.cell lstm, model.latent numbers, model.std_rule log_variance and "
            f"an even model.deter (h and c), found {model.cell}, {model.latent}, {model.std_rule} and {model.deter}; "
            "begin with the preset world_models"
        )
    world = VisionMemory(observations, actions, model)
    inputs = model.stoch + world.rssm.memory.units * (1 + config.evolution.reads_cell)
    controller = LinearController(actions, inputs, config.evolution.bias, config.evolution.reads_cell)
    return {"world_model": world, "policy": controller, "acting": ActingCopy(world)}


def _state(modules: Mapping[str, Any], config: Config, device: torch.device) -> dict[str, Tensor]:
    zero = torch.zeros((), dtype=torch.int64, device=device)
    search = {
        f"{_SEARCH}{name}": value.to(device) for name, value in _search(modules["policy"], config).tensors().items()
    }
    return {"stages/position": zero, "evolution/restarts": zero.clone(), **search}


def _noise(parts: Parts, rows: int, steps: int, generator: torch.Generator) -> UpdateNoise:
    if parts.join_rows is not None:
        raise ValueError("objective world_models trains in one process: an evolution has no gradients to share")
    config, size, device = parts.config.evolution, parts.config.model.stoch, generator.device

    def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, generator=generator, device=device, dtype=dtype)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    stage, _ = stage_at(int(parts.state["stages/position"]), parts.config.stages)
    none = torch.empty(0, device=device)
    if stage == "vision":
        count = parts.config.stages.vision_rows
        return UpdateNoise(none, none, {}, {"rows": uniform(count), "code": normal(count, size)})
    observe = normal(steps + 1, rows, size)
    if stage == "memory":
        return UpdateNoise(observe, none, {})
    uniforms, normals = DreamNoise.draw(config.dream_length, config.dreams, size, generator)
    candidates = normal(config.population, parts.modules["policy"].parameter_count, dtype=torch.float64)
    other = {"starts": uniform(config.dreams), "uniform": uniforms, "normal": normals, "candidates": candidates}
    return UpdateNoise(observe, none, {}, other)


def _policy_step(modules: Mapping[str, Any], actions: Sequence[Field]) -> PolicyStep:
    acting: ActingCopy = modules["acting"]
    return PolicyStep(acting, modules["policy"], actions, {"reward": RewardOutput(acting.rssm.memory)})


WORLD_MODELS = Generation(_build, {"vision": _VISION, "memory": _MEMORY}, _state, _noise, update, _policy_step)
