"""A bundle of World Models computes what its acting step does, for vectors, images and both kinds of action."""

import pytest
import torch

from export.compare import compare
from export.exporter import BundleExporter
from export.rollout import RandomInputs
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.onboard.bundle import read_bundle
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


OTHER = ["model.restart_input=true", "evolution.reads_cell=true"]
RUNS = {"cartpole": (load_spec("cartpole"), OTHER), "mixed": (parse_spec(MIXED), [])}


@pytest.mark.parametrize("run", RUNS)
def test_bundle_agrees_with_torch_before_and_after_training(run, tmp_path):
    spec, overrides = RUNS[run]
    torch.set_num_threads(1)
    config = load_config("world_models:cpu", ["device=cpu", "model.deter=32", "model.depth=2", *overrides])
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    exporter = BundleExporter(agent.policy_step(), spec, config)
    generator = torch.Generator().manual_seed(0)
    for version in (1, 2):
        exporter.export(tmp_path / "policy.zip", version, training_step=version)
        bundle = read_bundle(tmp_path / "policy.zip", spec)
        OnnxPolicy(bundle).verify()
        inputs = RandomInputs(exporter.ports, version, starts=frozenset({0, 20}))
        comparison = compare(exporter.policy, exporter.ports, bundle, 40, inputs)
        assert comparison.above(1e-5) == []
        assert {p.name for p in exporter.ports.outputs if p.role == "monitor"} == {"surprise", "reward"}
        with torch.no_grad():
            for parameter in agent.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
