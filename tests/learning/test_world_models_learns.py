"""World Models learns to hold a cart at a goal, far better than chance, in well under a minute."""

import numpy as np
import torch

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.batch import Batch
from tests.agents import box, spaces

STEPS, ROWS = 20, 32
SETTINGS = (
    *("device=cpu", "model.units=32", "model.deter=64", "model.stoch=2", "batch_length=20"),
    *("stages.vision=150", "stages.memory=200", "stages.controller=25", "stages.vision_rows=256"),
    *("evolution.population=16", "evolution.dream_length=15", "evolution.exploration=0.0"),
)


def world(actions):
    """A cart moves by 0.3 times the action; the reward is 1 at the goal, in the middle between two walls.

    actions: called with step number and observation (N, 1), gives actions (N, 1). Returns arrays (N, STEPS + 1, ...).
    """
    random = np.random.default_rng(0)
    position = random.uniform(-2, 2, (ROWS, 1)).astype(np.float32)
    positions, taken, rewards = [], [], []
    for step in range(STEPS + 1):
        positions.append(position)
        rewards.append(np.exp(-2 * position[:, 0] ** 2) * (step > 0))
        taken.append(np.clip(actions(step, position), -1, 1).astype(np.float32))
        position = np.clip(position + 0.3 * taken[-1], -2, 2)
    return tuple(np.stack(values, 1).astype(np.float32) for values in (positions, taken, rewards))


def batch_of(positions, taken, rewards, rssm):
    lead = torch.zeros(rewards.shape, dtype=torch.bool)
    first, last = lead.clone(), lead.clone()
    first[:, 0], last[:, -1] = True, True
    rows = {"position": torch.from_numpy(positions)}, {"force": torch.from_numpy(taken)}, torch.from_numpy(rewards)
    return Batch(*rows, first, last, lead, torch.zeros(ROWS, rssm.deter), torch.zeros(ROWS, *rssm.latent.shape))


def policy(agent):
    """The acting step without noise but that of a planner's search."""
    step = agent.policy_step()
    held = {"state": {k: torch.zeros(ROWS, *shape) for k, shape in step.layout.states.items()}}
    held["action"] = {"force": torch.zeros(ROWS, 1)}
    silence = {port.name: torch.zeros(ROWS, *port.shape) for port in step.layout.noise}
    g = torch.Generator().manual_seed(0)
    silence |= {p.name: torch.randn(ROWS, *p.shape, generator=g) for p in step.layout.noise if p.role == "plan_noise"}

    @torch.no_grad()
    def act(number, position):
        first = torch.full((ROWS,), number == 0)
        acted = step({"position": torch.from_numpy(position)}, held["action"], held["state"], first, silence)
        held["action"], held["state"] = acted.action, acted.state
        return acted.action["force"].numpy()

    return act


def test_a_controller_evolved_in_dreams_holds_the_goal():
    torch.set_num_threads(1)
    agent = Agent(
        spaces.Dict({"position": box(1)}),
        spaces.Dict({"force": spaces.Box(-1, 1, (1,))}),
        load_config("world_models:cpu", SETTINGS),
    )
    random = np.random.default_rng(1)
    chance = world(lambda step, position: random.uniform(-1, 1, position.shape))
    batch = batch_of(*chance, agent.parts.world.rssm)
    for _ in range(150 + 200 + 25):
        assert agent.update(batch).applied
    learned = world(policy(agent))[2].sum(1).mean()
    assert chance[2].sum(1).mean() < 8
    assert learned > 14  # a cart that drives straight to the goal earns 17
