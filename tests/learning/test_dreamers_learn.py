"""Each generation with an RSSM learns to hold a cart at a goal, far better than chance, in half a minute.

Two are compositions that no preset names: Dreamer V1's model with a planner, and DreamerV2 with latent numbers.
"""

import pytest
import torch

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from tests.learning.carts import Cart

SMALL = ("device=cpu", "model.units=32", "model.deter=48", "model.hidden=32", "batch_length=20")
ACTOR = (
    *SMALL,
    *("behavior.horizon=8", "behavior.return_horizon=10", "behavior.exploration=0.0", "optimizer.learning_rate=3e-3"),
    *("actor_optimizer.learning_rate=1e-3", "critic_optimizer.learning_rate=3e-3"),
)
PLANNER = (
    *SMALL,
    *("optimizer.learning_rate=3e-3", "planner.horizon=6", "planner.iterations=4"),
    *("planner.candidates=50", "planner.elites=8"),
)
V3 = (*SMALL, "behavior.horizon=8", "behavior.return_horizon=10", "optimizer.learning_rate=1e-3", "optimizer.warmup=0")
RUNS = {
    "planet": ("planet:cpu", PLANNER),
    "dreamer_v1": ("dreamer_v1:cpu", ACTOR),
    "dreamer_v1-planner": ("dreamer_v1:cpu", ("objective=planet", *PLANNER)),
    "dreamer_v2": ("dreamer_v2:cpu", ACTOR),
    "dreamer_v2-numbers": ("dreamer_v2:cpu", ("model.latent=numbers", "model.std_rule=sigmoid2", *ACTOR)),
    "daydreamer": ("daydreamer:cpu", ACTOR),
    "dreamer_v3": ("cpu_small", V3),
}
COMPOSED = ("dreamer_v1-planner", "dreamer_v2-numbers")
FEW = {"dreamer_v1": 100, "dreamer_v2": 200, "daydreamer": 150}  # updates, twice what it takes; 250 of the others


@pytest.mark.parametrize("run", [pytest.param(run, marks=pytest.mark.learn if run in COMPOSED else ()) for run in RUNS])
def test_what_is_trained_holds_the_goal(run):
    torch.set_num_threads(1)
    preset, settings = RUNS[run]
    cart = Cart()
    agent = Agent(*cart.spaces, load_config(preset, settings))
    chance = cart.by_chance()
    batch = cart.batch(chance, agent)
    for _ in range(FEW.get(run, 250)):
        assert agent.update(batch).applied
    assert chance[2].sum(1).mean() < 8
    assert cart.returns(agent) > 13  # a cart that drives straight to the goal earns 17
