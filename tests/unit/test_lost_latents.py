"""Latents that are no numbers end with their episode, in every text of filtering, and are never stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robot_dreamer.behavior.noise import latent_noise
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.replay import Replay
from robot_dreamer.world_model.latent import LatentSpace, Numbers
from robot_dreamer.world_model.rssm import RSSM, Latents
from tests.agents import SIX_ACTIONS, WALKER, random_batch
from tests.unit.test_replay import LENGTH, SPEC, make_row

PRESETS = ["nano", "planet:cpu", "dreamer_v2:cpu", "daydreamer:cpu", "world_models:cpu"]
STEPS = 4


def make(preset: str) -> Agent:
    return Agent(WALKER, SIX_ACTIONS, load_config(preset, ["device=cpu"]))


@pytest.mark.parametrize("preset", PRESETS)
def test_an_episode_that_begins_forgets_a_state_that_is_no_number(preset: str) -> None:
    rssm: RSSM = make(preset).parts.world.rssm
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, STEPS, 128, generator=generator)[..., : _tokens(rssm)]
    action = torch.randn(2, STEPS, 6, generator=generator)
    noise = latent_noise(rssm.latent, (STEPS, 2), generator)
    keep = torch.ones(2, STEPS)
    keep[:, 0] = 0.0
    shapes = ((2, rssm.deter), (2, *rssm.latent.shape))
    parameters = [p for name, p in rssm.named_parameters() if not name.startswith("prior")]
    results = []
    for observe in (RSSM.observe, type(rssm).observe):
        for value in (0.5, float("nan")):
            start = Latents(*(torch.full(shape, value) for shape in shapes))
            observed = observe(rssm, start, tokens, action, keep, noise)
            gradients = torch.autograd.grad(observed.deter.sum(), parameters, allow_unused=True)
            results.append([*observed, *(g for g in gradients if g is not None)])
    for whole, lost in (results[:2], results[2:]):
        assert len(whole) > 3
        assert all(torch.isfinite(x).all() for x in lost)
        assert all(map(torch.equal, whole, lost))


def _tokens(rssm: RSSM) -> int:
    """What an encoder of this model gives."""
    if not hasattr(rssm, "posterior"):
        return int(rssm.latent.statistics[0])
    kernel = next(rssm.posterior.parameters())  # type: ignore[arg-type]
    return int(kernel.shape[0]) - rssm.deter


@pytest.mark.parametrize("preset", PRESETS)
def test_a_robot_that_begins_an_episode_acts_again(preset: str) -> None:
    agent = make(preset)
    batch, step = random_batch(agent, 1, 1), agent.policy_step()
    state = {name: torch.full((1, *shape), float("nan")) for name, shape in step.layout.states.items()}
    noise = {port.name: torch.zeros(1, *port.shape) for port in step.layout.noise}
    rows = ({name: value[:, 0] for name, value in x.items()} for x in (batch.observation, batch.action))
    with torch.no_grad():
        acted = step(*rows, state, torch.tensor([True]), noise)
    assert all(torch.isfinite(x).all() for x in (*acted.action.values(), *acted.state.values()))


def test_none_is_stored_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    latent: LatentSpace = Numbers(2)
    replay = Replay(SPEC, 50, LENGTH, 3, latent)
    for t in range(30):
        deter = np.full(3, np.nan if t == 4 else 1.0, np.float32)
        replay.add("a", make_row("a", t), deter, np.full(2, np.inf if t == 5 else 1.0, np.float32))
    for values in replay.latents.values():
        assert np.isfinite(values).all() and not values[[4, 5]].any() and values[:4].all()
    _, window = replay.sample(2)
    deter, stoch = torch.ones(2, LENGTH - 1, 3), torch.ones(2, LENGTH - 1, 2)
    deter[1, 1, 0] = torch.inf
    replay.write_latents(window, deter, stoch)
    for values in replay.latents.values():
        assert np.isfinite(values).all() and not values[window.slots[1, 1]].any() and values[window.slots[1, 2]].all()
    assert caplog.text.count("not finite: zeros are stored") == 1
