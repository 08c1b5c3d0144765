"""Dreamer V1, DreamerV2 and DayDreamer learn to hold a cart at a goal, far better than chance, in half a minute."""

import numpy as np
import pytest
import torch
from test_world_models_learns import batch_of, policy, world

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from tests.agents import box, spaces

SETTINGS = (
    *("device=cpu", "model.units=32", "model.deter=48", "model.hidden=32", "batch_length=20"),
    *("behavior.horizon=8", "behavior.return_horizon=10", "behavior.exploration=0.0", "optimizer.learning_rate=3e-3"),
    *("actor_optimizer.learning_rate=1e-3", "critic_optimizer.learning_rate=3e-3"),
)


@pytest.mark.parametrize("preset", ["dreamer_v1:cpu", "dreamer_v2:cpu", "daydreamer:cpu"])
def test_an_actor_trained_in_imagination_holds_the_goal(preset):
    torch.set_num_threads(1)
    agent = Agent(
        spaces.Dict({"position": box(1)}),
        spaces.Dict({"force": spaces.Box(-1, 1, (1,))}),
        load_config(preset, SETTINGS),
    )
    random = np.random.default_rng(1)
    chance = world(lambda step, position: random.uniform(-1, 1, position.shape))
    batch = batch_of(*chance, agent.parts.world.rssm)
    for _ in range(250):
        assert agent.update(batch).applied
    learned = world(policy(agent))[2].sum(1).mean()
    assert chance[2].sum(1).mean() < 8
    assert learned > 13  # a cart that drives straight to the goal earns 17
