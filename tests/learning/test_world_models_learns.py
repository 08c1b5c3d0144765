"""World Models learns to hold a cart at a goal, far better than chance, in well under a minute."""

import pytest
import torch

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from tests.learning.carts import Cart

pytestmark = pytest.mark.timeout(600)
SETTINGS = (
    *("device=cpu", "model.units=32", "model.deter=64", "model.stoch=2", "batch_length=20"),
    *("stages.vision=150", "stages.memory=200", "stages.controller=25", "stages.vision_rows=256"),
    *("evolution.population=16", "evolution.dream_length=15", "evolution.exploration=0.0"),
)


def test_a_controller_evolved_in_dreams_holds_the_goal():
    torch.set_num_threads(1)
    cart = Cart()
    agent = Agent(*cart.spaces, load_config("world_models:cpu", SETTINGS))
    chance = cart.by_chance()
    batch = cart.batch(chance, agent)
    for _ in range(150 + 200 + 25):
        assert agent.update(batch).applied
    assert chance[2].sum(1).mean() < 8
    assert cart.returns(agent) > 14  # a cart that drives straight to the goal earns 17
