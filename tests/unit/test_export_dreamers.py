"""Bundles of PlaNet, Dreamer V1, DreamerV2 and DayDreamer compute what their torch policies do."""

import pytest
import torch

from export.compare import compare
from export.exporter import BundleExporter
from export.rollout import RandomInputs
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.noise import NoiseSource
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.spec import load_spec, parse_spec

MIXED = """
name: mixed
rate: 20.0
observations:
  - {name: camera, shape: [64, 64, 3], dtype: uint8,
     source: {topic: camera, type: sensor_msgs/msg/Image, field: data}}
  - {name: gyro, shape: [3], source: {topic: imu, type: sensor_msgs/msg/Imu, field: angular_velocity}}
actions:
  - {name: arm, low: [-1, -2], high: [1, 2], command: {topic: arm}}
  - {name: gear, values: [[0.0], [1.0], [2.0]], command: {topic: gear}}
reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}
episode: {max_steps: 10}
"""
SPECS = {"cartpole": load_spec("cartpole"), "mixed": parse_spec(MIXED)}
PRESETS = ["dreamer_v1", "dreamer_v2", "daydreamer"]


SEARCH = ("planner.horizon=4", "planner.iterations=2", "planner.candidates=40", "planner.elites=8")
"""Short, for each planned action of each iteration is nodes of its own in the graph; with few candidates, for of many
two returns can be so near each other that rounding decides which is kept."""
RUNS = [(f"{preset}:cpu", (), "mixed") for preset in PRESETS] + [
    ("planet:cpu", SEARCH, "cartpole"),
    ("dreamer_v1:cpu", ("objective=planet", *SEARCH), "cartpole"),
    ("dreamer_v2:cpu", ("model.latent=numbers", "model.std_rule=sigmoid2"), "mixed"),
]


@pytest.mark.parametrize(("preset", "settings", "robot"), RUNS)
def test_bundle_agrees_with_torch_before_and_after_training(preset, settings, robot, tmp_path):
    torch.set_num_threads(1)
    spec, config = SPECS[robot], load_config(preset, settings)
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    exporter = BundleExporter(agent.policy_step(), spec, config)
    generator = torch.Generator().manual_seed(0)
    for version in (1, 2):
        exporter.export(tmp_path / "policy.bundle", version, training_step=version)
        bundle = read_bundle(tmp_path / "policy.bundle", spec)
        OnnxPolicy(bundle).verify()
        inputs = RandomInputs(exporter.ports, version, starts=frozenset({0}))
        comparison = compare(exporter.policy, exporter.ports, bundle, 40, inputs)
        assert comparison.above(1e-5) == []
        assert comparison.own["next_deter"].max() > 0
        with torch.no_grad():
            for parameter in agent.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("preset", PRESETS)
def test_without_action_noise_the_mode_acts(preset, tmp_path):
    """Exploration too is action noise, which a deterministic policy does not have."""
    spec = SPECS["cartpole"]
    config = load_config(f"{preset}:cpu")
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    step = agent.policy_step()
    roles = {port.name: port.role for port in step.layout.noise}
    explores = [name for name in roles if name.startswith("explore_noise_")]
    assert len(explores) == (config.behavior.exploration > 0)
    feature = torch.randn(1, agent.world_model.feature_size)
    silence = {port.name: torch.zeros(1, *port.shape) for port in step.layout.noise}
    first = agent.policy.act(None, {}, None, feature, silence)
    again = agent.policy.act(None, {}, None, feature, silence)
    distribution = next(iter(agent.policy(feature).values()))
    base = getattr(distribution, "base", distribution)
    mean = torch.tanh(base.mean) if base is not distribution else base.mean
    for name, action in first.items():
        assert torch.equal(action, again[name])
        assert torch.allclose(action, mean, atol=1e-5)
    assert all(roles[name] == "action_noise" for name in explores)
    assert NoiseSource(0, deterministic=True).deterministic
