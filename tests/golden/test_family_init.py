"""Fresh parameters of Dreamer V1, DreamerV2 and DayDreamer against the statistics of `*_init`.

Each array of a file is given the number of its row in the statistics, so that `Names` says which of our parameters, or
which parts of them, belong to it. A recurrent model is built by itself: the files drew theirs for another encoder.
"""

import dataclasses

import numpy as np
import pytest
import torch
from family_dreamer import Names
from family_golden import files
from golden import Golden

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.world_model.gru_rssm import GRURSSM
from tests.agents import box, spaces

ACTIONS, EMBEDDING = 6, 64


def config_of(generation, shapes, seed):
    latent = shapes["actor/h0/kernel" if generation == "dreamer_v1" else "actor/dense0/kernel"][0]
    cell = {"dreamer_v1": "gru/recurrent", "dreamer_v2": "gru/bias", "daydreamer": "gru_out/kernel"}[generation]
    deter = shapes[f"rssm/{cell}"][-1] // 3
    config = load_config(generation, ["device=cpu", f"seed={seed}", "model.units=64", "model.depth=8"])
    numbers = config.model.latent == "numbers"
    model = dataclasses.replace(
        config.model,
        deter=deter,
        hidden=shapes["rssm/img1/kernel" if generation == "dreamer_v1" else "rssm/img_out_0/kernel"][-1],
        stoch=latent - deter if numbers else (latent - deter) // 16,
        classes=1 if numbers else 16,
        encoder_layers=2,
        decoder_layers=2,
        reward_layers=sum(name.startswith("reward/") and name.endswith("kernel") for name in shapes) - 1,
    )
    return dataclasses.replace(config, model=model)


def fresh(generation, shapes, seed):
    """Our parameters by name: an agent's, with a recurrent model of the file's sizes."""
    config = config_of(generation, shapes, seed)
    observations = {"image": spaces.Box(0, 255, (64, 64, 3), np.uint8)}
    if generation != "dreamer_v1":
        observations["vec"] = box(9)
    agent = Agent(spaces.Dict(observations), spaces.Dict({"action": spaces.Box(-1, 1, (ACTIONS,))}), config)
    found = dict(agent.named_parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rssm = GRURSSM(ACTIONS, EMBEDDING, config.model)
    return found | {f"world_model.rssm.{name}": p for name, p in rssm.named_parameters()}


@pytest.mark.parametrize("path", files("dd_init", "v1_init", "v2_init"))
def test_initial_parameters(path):
    g = Golden(path)
    names, generation = g.config["names"], g.config["generation"]
    shapes = dict(zip(names, g.config["shapes"], strict=True))
    rows = {name: torch.full(shapes[name], float(i)) for i, name in enumerate(names)}
    wanted = Names(rows, {"generation": generation, "deter": 0}).agent(["vec"], discrete=False)
    samples = {name: [] for name in names}
    for seed in range(g.config["seeds"]):
        ours = fresh(generation, shapes, seed)
        for name, row in wanted.items():
            assert ours[name].shape == row.shape, name
            samples[names[int(row.flatten()[0])]].append(ours[name].detach())
    for i, name in enumerate(names):
        assert samples[name], f"{name}: none of our parameters stands for it"
        values = torch.cat([sample.flatten() for sample in samples[name]])
        if g["out/constant"][i]:
            assert (values == g["out/mean"][i]).all(), name
            continue
        if g["out/orthogonal"][i]:
            gram = samples[name][0] @ samples[name][0].T
            assert torch.allclose(gram, torch.eye(len(gram)), atol=1e-5), name
        golden = g["out/std"][i]
        # the relative error of a sampled standard deviation is 1 / sqrt(2 n), on both sides
        assert abs(values.std() / golden - 1) <= max(0.01, 5 / values.numel() ** 0.5), name
        if not g["out/orthogonal"][i]:  # what cuts the distribution is met by the largest of many
            assert abs(values.abs().max() / g["out/absmax"][i] - 1) <= max(0.02, 10 / values.numel() ** 0.5), name
