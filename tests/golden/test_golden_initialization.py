"""Fresh parameters against the statistics of `init_stats.npz`."""

import pytest
import torch
from golden import Golden, cases, dict_space

from robot_dreamer.config import Config, ModelConfig, RunConfig
from robot_dreamer.learner.agent import Agent
from tests.golden.official_names import OfficialNames


@pytest.mark.parametrize(("path", "case"), cases("init_stats", lambda config: config["cases"]))
def test_initial_parameters(path, case):
    g = Golden(path)
    c = g.config["cases"][case]
    shapes = {name: tuple(shape) for name, shape in zip(c["names"], c["shapes"], strict=True)}
    observations = {name: {"shape": shape, "image": len(shape) == 3} for name, shape in c["obs"].items()}
    actions = {name: {"shape": shape} for name, shape in c["action"].items()}
    for name, action in actions.items():
        if f"pol/head/{name}/logits/bias" in shapes:
            action["classes"] = shapes[f"pol/head/{name}/logits/bias"][0]
    dims = c["dims"]
    model = ModelConfig(
        deter=dims["D"],
        hidden=dims["H"],
        stoch=dims["S"],
        classes=dims["K"],
        blocks=dims["G"],
        units=dims["U"],
        depth=dims["depth"],
    )
    samples: dict[str, list[torch.Tensor]] = {}
    seeds = c["seeds"]
    for seed in range(seeds):
        agent = Agent(
            dict_space(observations), dict_space(actions), Config(model=model, run=RunConfig(seed=seed, device="cpu"))
        )
        names = OfficialNames(agent.observation_fields, agent.action_fields, len(model.multipliers))
        for name, parameter in agent.named_parameters():
            samples.setdefault(names.name(name), []).append(names.to_official(name, parameter.detach()))
    assert set(samples) == set(shapes)
    for i, name in enumerate(c["names"]):
        values = torch.stack(samples[name])
        assert tuple(values.shape[1:]) == shapes[name], name
        if g[f"out/{case}/constant"][i]:
            assert (values == g[f"out/{case}/mean"][i]).all(), name
            continue
        rms, golden = values.square().mean().sqrt(), g[f"out/{case}/std"][i]
        # The relative error of a sampled standard deviation is 1 / sqrt(2 n), on both sides.
        assert abs(rms / golden - 1) <= max(0.01, 5 / values.numel() ** 0.5), name
        assert values.abs().max() / rms <= 2.274 * 1.01 + 5 / values.numel() ** 0.5, name
    slow = [name for name in samples if name.startswith("slowval")]
    for name in slow:
        assert torch.equal(torch.stack(samples[name]), torch.stack(samples[name.replace("slowval", "val")]))
