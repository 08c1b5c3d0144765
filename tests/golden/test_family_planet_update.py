"""Golden: whole updates of PlaNet."""

import dataclasses

import gymnasium
import numpy as np
import pytest
import torch
from family_dreamer import check_gradients, fill
from family_golden import files, to_ours
from golden import Golden, assert_close

from robot_dreamer.behavior.noise import UpdateNoise
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.objectives.parts import observe_batch
from robot_dreamer.learner.objectives.planet import objective
from robot_dreamer.world_model.fields import Field, fields_of
from robot_dreamer.world_model.world_model64 import WorldModel64
from tests.golden.planet_names import reward_parameters, rssm_parameters

UPDATE, UPDATE_GRAD, UPDATE_PARAMETERS = 2e-5, 3e-5, 1e-5


def world_parameters(theirs, deter):
    """All parameters of the file by the names of our world model."""
    ours = {f"rssm.{name}": value for name, value in rssm_parameters(theirs).items()}
    ours |= {f"reward.{name}": value for name, value in reward_parameters(theirs, deter).items()}
    layers = {f"encoder.image.layers.{i}": f"enc/conv2d_{i}" if i else "enc/conv2d" for i in range(4)}
    decoder = ["dec/conv2d_transpose", *(f"dec/conv2d_transpose_{i}" for i in (1, 2, 3))]
    layers |= {f"decoder.image.layers.{i}": name for i, name in enumerate(decoder[:3])}
    layers |= {"decoder.image.out": decoder[3]}
    for name, other in layers.items():
        ours[f"{name}.kernel"], ours[f"{name}.bias"] = to_ours(theirs[f"{other}/kernel"]), theirs[f"{other}/bias"]
    ours["decoder.image.dense.kernel"] = theirs["dec/dense/kernel"].roll(deter, 0)
    return ours | {"decoder.image.dense.bias": theirs["dec/dense/bias"]}


def agent_of(g):
    c = g.config
    settings = load_config("planet", ["device=cpu"])
    model = dataclasses.replace(
        settings.model,
        deter=c["belief"],
        hidden=c["embed_size"],
        stoch=c["state"],
        depth=c["depth"],
        free_nats=c["free_nats"],
        reward_layers=c["reward_layers"],
        reward_units=c["reward_units"],
    )
    optimizer = dataclasses.replace(
        settings.optimizer,
        learning_rate=c["lr"],
        epsilon=c["eps"],
        clip=c["clip"],
        beta1=c["beta1"],
        beta2=c["beta2"],
    )
    scales = dataclasses.replace(settings.loss_scales, reward=c.get("loss_scales", {}).get("reward", 10.0))
    config = dataclasses.replace(settings, model=model, optimizer=optimizer, loss_scales=scales)
    images = gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)})
    actions = gymnasium.spaces.Dict({"action": gymnasium.spaces.Box(-1, 1, (c["A"],))})
    agent = Agent(images, actions, config)
    fill(agent.parts.world, world_parameters(g.group("param/"), c["belief"]))
    return agent


@pytest.mark.parametrize("path", files("planet_update"))
def test_updates(path):
    g = Golden(path)
    c, agent = g.config, agent_of(g)
    rows, steps = g["in/reward"].shape
    before = torch.zeros(rows, 1)

    def with_context(x):  # our rows have one in front that gives the first action only
        return torch.cat((torch.zeros_like(x[:, :1]), x), 1)

    none = torch.zeros(rows, steps + 1, dtype=torch.bool)
    # Theirs is the action that led to a row, ours the one executed after it.
    action = torch.cat((g["in/action"], torch.zeros(rows, 1, c["A"])), 1)
    batch = Batch(
        {"image": with_context(g["in/image"])},
        {"action": action},
        with_context(g["in/reward"]),
        none,
        none,
        none,
        before.expand(-1, c["belief"]),
        before.expand(-1, c["state"]),
        none,
    )
    rssm, log_two_pi = agent.parts.world.rssm, 0.5 * float(np.log(2 * np.pi))
    for i in (1, 2):
        draws = g[f"noise/{i}/post"].transpose(0, 1)
        noise = UpdateNoise(draws, torch.zeros(0), {}, {"pixels": g["noise/uniform"].flatten(0, 1)})
        if i == 1:
            _, post = observe_batch(agent.parts, batch, noise.observe, noise.other["pixels"])
            prior = rssm.prior_statistics(post.deter)
            for name, statistics, draw in (("post", post.posterior, draws), ("prior", prior, g["noise/1/prior"])):
                distribution = rssm.latent(statistics)
                sample = post.stoch if name == "post" else rssm.latent.draw(statistics, draw)
                found = {"mean": distribution.mean, "stddev": distribution.std, "sample": sample, "belief": post.deter}
                for key, value in found.items():
                    assert_close(value, g[f"out/{name}/{key}"], UPDATE, f"{name}/{key}")
            total = objective(agent.parts.modules, agent.config, _, post, noise.other, torch.ones(())).total
            total.backward()
            check_gradients(agent.parts.world, world_parameters(g.group("grad/param/"), c["belief"]), UPDATE_GRAD)
        result = agent.update(batch, noise)
        assert result.applied
        # The file's objectives are log-densities, with their constants.
        image = -result.losses["reconstruction/image"] - 64 * 64 * 3 * log_two_pi
        reward = -result.losses["reward"] - log_two_pi
        assert_close(image, g[f"out/{i}/objective/image"], UPDATE, "image")
        assert_close(reward, g[f"out/{i}/objective/reward"], UPDATE, "reward")
        assert_close(result.losses["kl"], g[f"out/{i}/objective/divergence"], UPDATE, "divergence")
        assert_close(result.metrics["optimizer/gradient_norm"], g[f"out/{i}/norm"], UPDATE_GRAD, "norm")
        parameters = dict(agent.parts.world.named_parameters())
        for name, value in world_parameters(g.group(f"after{i}/param/"), c["belief"]).items():
            assert (parameters[name].detach() - value).abs().max() <= UPDATE_PARAMETERS, (i, name)


def test_parameter_counts():
    """Published sizes, images, one action; with the paper's reward head of two layers of 200 too."""
    images = fields_of(gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)}))
    action = [Field("action", "vector", (1,))]

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    world = WorldModel64(images, action, load_config("planet").model)
    assert (count(world.rssm), count(world)) == (556_320, 5_292_220)
    paper = load_config("planet", ["model.reward_layers=2", "model.reward_units=200"])
    assert count(WorldModel64(images, action, paper.model)) == 5_128_620
