"""A portrait of an agent: what it sees, dreams and hopes for, beside what happened; arrays, for whoever draws them.

The first thing that people look at in a world model (Hafner et al. 2019, figure 5): filter a few rows, then imagine on
under the actions that were really executed, and compare. Beside it the same of the behaviour: what it hopes to earn.

Letters: B windows, T rows of each, K dreams, H dreamed rows, W windows that are kept whole, C components of a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.batch import Batch, batch_to
from robot_dreamer.learner.carry import Carry
from robot_dreamer.learner.hopes import imagined_rewards
from robot_dreamer.record import Arrays
from robot_dreamer.world_model.encoder import is_present
from robot_dreamer.world_model.fields import Field
from robot_dreamer.world_model.losses import continue_label
from robot_dreamer.world_model.readout import Readout
from robot_dreamer.world_model.rssm import Filtered, Latents, Observed, encode_action

CONTEXT = 5  # rows that are filtered before the dream begins
HORIZON = 50  # rows that are dreamed, at most
ROWS = 1 + CONTEXT + HORIZON  # of a window that shows all of that
DREAMS = 8  # of each window
SHOWN = 3  # windows that are kept whole
QUANTILES = (0.1, 0.5, 0.9)


class _Dreams(NamedTuple):
    observation: dict[str, Tensor]
    """(K, B, H, *shape) each."""
    valid: Tensor
    """(B, H) bool: the episode in which the dream began still went on."""


@torch.no_grad()
def portrait(agent: Agent, batch: Batch, seed: int = 0) -> Arrays:
    """What a person wants to see of an agent; works for every generation, and gives what that one has.

    Changes nothing of the agent, its random streams included; costs about as much as two updates without gradients.

    Args:
      batch: windows of at least CONTEXT + 2 rows. As in training, row 0 only gives the state in which filtering begins,
        and the first action; T counts the rows after it.
      seed: of all draws.

    Returns, by name (images as bytes, errors of images as a share of full brightness):
      context, horizon: () rows that were filtered and dreamed.
      truth/NAME, seen/NAME: (W, T, *shape) as recorded, and as reconstructed from the filtered state.
      dreamt/NAME: (3, W, H, *shape) the QUANTILES of the dreams; of images and classes (1, W, H, *shape), one dream.
      lasted: (W) rows of these before the next episode began: what comes after, the actions too, is of that one.
      rmse/dreamt/NAME, rmse/still/NAME: (H, C) error in the unit of the sensor, and that of "nothing changes".
      rmse/seen/NAME: (C) error of the reconstruction.
      spread/NAME: (C) standard deviation of the recorded values: what to measure errors by.
      surprise, entropy/prior, entropy/posterior: (B, T) nats.
      reward/true, reward/seen, live/true, live/seen: (B, T) if the generation predicts them.
      imagined/...: see `imagined_rewards`.
      action/NAME: (B, T, *shape) as executed.

    Raises ValueError for windows that are too short.
    """
    steps = batch.reward.shape[1]
    if steps < CONTEXT + 2:
        raise ValueError(f"a portrait needs windows of at least {CONTEXT + 2} rows, found {steps}")
    batch = batch_to(batch, agent.device)
    generator = torch.Generator(agent.device).manual_seed(seed)
    carry = None
    if agent.config.replay_context == "stored":
        carry = Carry(batch.deter.float(), batch.stoch.float(), {k: v[:, 0] for k, v in batch.action.items()})
    batch = _without_first_row(batch)
    observed = agent.observe(batch.observation, batch.action, batch.is_first, carry, generator=generator)
    with agent.precision():
        seen = read(agent, observed.deter, observed.stoch)
        dreams = _dream(agent, batch, observed, min(HORIZON, steps - 1 - CONTEXT), generator)
        found = _pictures(agent.observation_fields, batch, seen, dreams)
        found |= _errors(agent.observation_fields, batch, seen, dreams)
        found |= _nats(agent, observed) | _heads(agent, batch, seen)
        found |= imagined_rewards(agent, batch, carry, observed, CONTEXT, generator)
    found |= {f"action/{field.name}": batch.action[field.name] for field in agent.action_fields}
    sizes = {"context": np.array(CONTEXT), "horizon": np.array(dreams.valid.shape[1])}
    return sizes | {name: _array(value) for name, value in found.items()}


def _without_first_row(batch: Batch) -> Batch:
    flags = {k: getattr(batch, k)[:, 1:] for k in ("reward", "is_first", "is_last", "is_terminal")}
    observation, action = ({k: v[:, 1:] for k, v in x.items()} for x in (batch.observation, batch.action))
    return batch._replace(observation=observation, action=action, **flags)


def read(agent: Agent, deter: Tensor, stoch: Tensor) -> Readout:
    """What the model says in states (..., D), (..., *latent.shape): each prediction (..., *shape)."""
    lead = deter.shape[:-1]
    flat = Latents(deter.flatten(0, len(lead) - 1), stoch.flatten(0, len(lead) - 1))
    found: Readout = agent.parts.modules["world_model"].readout(flat)
    observation = {name: value.unflatten(0, lead).float() for name, value in found.observation.items()}
    numbers = (None if x is None else x.unflatten(0, lead).float() for x in (found.reward, found.live))
    return Readout(observation, *numbers)


def _dream(agent: Agent, batch: Batch, observed: Observed, horizon: int, generator: torch.Generator) -> _Dreams:
    rssm, rows = agent.parts.world.rssm, batch.reward.shape[0]
    deter = observed.deter[:, CONTEXT - 1].float().repeat(DREAMS, 1)  # (K B, D), dream-major
    stoch = observed.stoch[:, CONTEXT - 1].float().repeat(DREAMS, *(1,) * len(rssm.latent.shape))
    states, prepared = [], rssm.prepare()
    for t in range(CONTEXT, CONTEXT + horizon):
        action = {name: value[:, t - 1] for name, value in batch.action.items()}
        features = encode_action(agent.action_fields, action).repeat(DREAMS, 1)
        deter = rssm.step(deter, stoch, features, prepared)
        stoch = rssm.expect(deter, generator)
        states.append((deter, stoch))
    deter, stoch = (torch.stack(x, 1).unflatten(0, (DREAMS, rows)) for x in zip(*states, strict=True))
    # one dream at a time: the pictures of all would take more memory on their way than an update does
    found = [read(agent, *one).observation for one in zip(deter, stoch, strict=True)]
    valid = ~batch.is_first[:, CONTEXT : CONTEXT + horizon].cumsum(1).bool()
    return _Dreams({name: torch.stack([one[name] for one in found]) for name in found[0]}, valid)


def _pictures(fields: tuple[Field, ...], batch: Batch, seen: Readout, dreams: _Dreams) -> dict[str, Tensor]:
    lasted = dreams.valid.sum(1)  # where an episode goes on longest is shown: what follows an end cannot be dreamed
    shown = torch.argsort(lasted, descending=True, stable=True)[:SHOWN]
    found = {"lasted": lasted[shown]}
    for field in fields:
        found[f"truth/{field.name}"] = batch.observation[field.name][shown]
        reconstructed, dreamt = seen.observation[field.name][shown], dreams.observation[field.name][:, shown]
        levels = dreamt.new_tensor(QUANTILES)
        dreamt = torch.quantile(dreamt, levels, dim=0) if field.kind == "vector" else dreamt[:1]
        if field.kind == "image":
            reconstructed, dreamt = ((255 * x).round().to(torch.uint8) for x in (reconstructed, dreamt))
        found |= {f"seen/{field.name}": reconstructed, f"dreamt/{field.name}": dreamt}
    return found


def _errors(fields: tuple[Field, ...], batch: Batch, seen: Readout, dreams: _Dreams) -> dict[str, Tensor]:
    """Root mean squared errors by component (C); of classes the share that is wrong, of images over all pixels."""
    found: dict[str, Tensor] = {}
    horizon = dreams.valid.shape[1]
    for field in fields:
        raw = batch.observation[field.name]
        truth = raw.float() / 255 if field.kind == "image" else raw.float()
        there = torch.ones_like(batch.is_first)  # (B, T)
        if field.kind != "image":
            there = is_present(field, raw.flatten(0, 1)).view_as(there)
        later, valid = truth[:, CONTEXT : CONTEXT + horizon], dreams.valid & there[:, CONTEXT : CONTEXT + horizon]
        still = truth[:, CONTEXT - 1 : CONTEXT].expand_as(later)
        known = valid & there[:, CONTEXT - 1 : CONTEXT]
        dreamt, name = dreams.observation[field.name], field.name
        found[f"rmse/dreamt/{name}"] = _rmse(field, dreamt, later.expand_as(dreamt), valid.expand(dreamt.shape[:3]), 2)
        found[f"rmse/still/{name}"] = _rmse(field, still, later, known, 1)
        found[f"rmse/seen/{name}"] = _rmse(field, seen.observation[name], truth, there, 2)
        values = truth.reshape(*there.shape, -1)[there]  # (n, C)
        spread = values.std(0, correction=0)
        found[f"spread/{name}"] = spread.square().mean(0, keepdim=True).sqrt() if field.kind == "image" else spread
    return found


def _rmse(field: Field, guess: Tensor, truth: Tensor, valid: Tensor, time: int) -> Tensor:
    """Over all leading axes but that of time, if it comes last among them: guess, truth (..., *shape), valid (...)."""
    lead = valid.dim()
    wrong = (guess != truth).float() if field.kind == "discrete" else (guess - truth).square()
    wrong = wrong.reshape(*valid.shape, -1)  # (..., C)
    if field.kind == "image":
        wrong = wrong.mean(-1, keepdim=True)
    wrong = torch.where(valid.unsqueeze(-1), wrong, 0.0)
    axes = tuple(axis for axis in range(lead) if axis != time or time == lead)
    total, count = wrong.sum(axes), valid.sum(axes).unsqueeze(-1).float()
    mean = torch.where(count > 0, total / count.clamp(min=1), torch.nan)
    return mean if field.kind == "discrete" else mean.sqrt()


def _nats(agent: Agent, observed: Observed) -> dict[str, Tensor]:
    rssm, (rows, steps) = agent.parts.world.rssm, observed.deter.shape[:2]
    filtered = Filtered(*(x.flatten(0, 1) for x in observed))
    priors = rssm.latent(rssm.prior_statistics(filtered.deter))
    entropies = {"prior": priors.entropy(), "posterior": rssm.latent(filtered.posterior).entropy()}
    numbers = {"surprise": rssm.surprise(filtered)}
    numbers |= {f"entropy/{name}": value.flatten(1).sum(1) for name, value in entropies.items()}
    return {name: value.view(rows, steps) for name, value in numbers.items()}


def _heads(agent: Agent, batch: Batch, seen: Readout) -> dict[str, Tensor]:
    config, found = agent.config, dict[str, Tensor]()
    if seen.reward is not None:
        reward = batch.reward.float()
        found["reward/true"] = torch.tanh(reward) if config.model.tanh_rewards else reward
        found["reward/seen"] = seen.reward
    if seen.live is not None:
        folded = config.behavior.continue_discount and config.objective != "world_models"
        found["live/true"] = continue_label(batch.is_terminal, config.behavior.return_horizon, folded)
        found["live/seen"] = seen.live
    return found


def _array(value: Tensor) -> np.ndarray:
    array: np.ndarray = (value.float() if value.is_floating_point() else value).cpu().numpy()
    return array


def summary(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The numbers of a portrait that are followed over training, by the names under which they are logged."""
    found: dict[str, float] = {}
    for name in (key.removeprefix("spread/") for key in arrays if key.startswith("spread/")):
        moving = arrays[f"spread/{name}"] > 0
        for kind in ("seen", "dreamt", "still"):
            error = arrays[f"rmse/{kind}/{name}"][..., moving] / arrays[f"spread/{name}"][moving]
            if error.size and np.isfinite(error).any():
                found[f"portrait/error/{kind}/{name}"] = float(np.sqrt(np.nanmean(np.square(error))))
    for name in ("surprise", "entropy/prior", "entropy/posterior", "imagined/predicted", "imagined/obtained"):
        if arrays.get(name) is not None and arrays[name].size:
            found[f"portrait/{name}"] = float(np.mean(arrays[name]))
    for name in ("reward", "live"):
        if f"{name}/seen" in arrays:
            error = arrays[f"{name}/seen"] - arrays[f"{name}/true"]
            found[f"portrait/error/{name}"] = float(np.sqrt(np.mean(np.square(error))))
    for name in ("value", "obtained"):
        if f"episode/{name}" in arrays:
            found[f"portrait/value/{name}"] = float(np.mean(arrays[f"episode/{name}"]))
    return found
