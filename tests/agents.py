"""Small agents and random batches for tests."""

import gymnasium
import numpy as np
import torch

from robot_dreamer.behavior.actor import ActorNetwork
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.objectives import dreamer_v3
from robot_dreamer.world_model.fields import fields_of
from robot_dreamer.world_model.heads import TwoHotHead
from robot_dreamer.world_model.world_model import WorldModel

spaces = gymnasium.spaces


def box(*shape):
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


IMAGE = spaces.Dict({"image": spaces.Box(0, 255, (64, 64, 3), np.uint8)})
WALKER = spaces.Dict({"orientations": box(14), "height": box(), "velocity": box(9)})
SIX_ACTIONS = spaces.Dict({"action": spaces.Box(-1, 1, (6,))})
MIXED = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (48, 48, 1), np.uint8),
        "joints": box(3),
        "gear": spaces.Discrete(4),
        "keys": box(2, 2),
    }
)
MIXED_ACTIONS = spaces.Dict({"arm": spaces.Box(-1, 1, (2,)), "grip": spaces.Discrete(3)})


def random_batch(agent, rows, length, seed=0):
    g = torch.Generator().manual_seed(seed)
    lead = (rows, length)

    def value(field, action):
        if field.kind == "image":
            return torch.randint(0, 256, (*lead, *field.shape), generator=g, dtype=torch.uint8)
        if field.kind == "discrete":
            return torch.randint(0, field.classes, (*lead, *field.shape), generator=g)
        x = torch.randn((*lead, *field.shape), generator=g)
        return x.clamp(-1, 1) if action else x

    def flags(probability):
        return torch.rand(lead, generator=g) < probability

    last = flags(0.1)
    rssm = agent.parts.world.rssm
    return Batch(
        {f.name: value(f, False) for f in agent.observation_fields},
        {f.name: value(f, True) for f in agent.action_fields},
        torch.randn(lead, generator=g),
        flags(0.1),
        last,
        last & flags(0.5),
        torch.zeros(rows, rssm.deter),
        torch.zeros(rows, *rssm.latent.shape),
        torch.zeros_like(last),
    )


def forward(agent, batch, noise):
    """Everything that DreamerV3 computes in an update, as the agent would."""
    with agent.precision():
        return dreamer_v3.forward(agent.parts, batch, noise)


def nano(*overrides, observations=WALKER, actions=SIX_ACTIONS):
    return Agent(observations, actions, load_config("nano", ["device=cpu", *overrides]))


def count_parameters(observations, actions, config):
    """Parameters that are trained, without giving them memory."""
    world = WorldModel(fields_of(observations), fields_of(actions), config.model, 0.0)
    policy = ActorNetwork(fields_of(actions), world.feature_size, config.model.units, config.behavior)
    critic = TwoHotHead(world.feature_size, config.behavior.critic_layers, config.model, 0.0)
    return sum(p.numel() for module in (world, policy, critic) for p in module.parameters())
