"""A bundle computes what the torch policy does, before and after the weights change."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.compare import Comparison, compare
from export.exporter import BundleExporter
from export.ports import Ports
from export.rollout import RandomInputs, RecordedInputs, record, step, with_margin
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.onboard.bundle import Bundle, read_bundle
from robot_dreamer.onboard.manifest import BundleError
from robot_dreamer.onboard.noise import NoiseSource
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.record import Arrays
from robot_dreamer.spec import RobotSpec, load_spec, parse_spec

MIXED = """
name: mixed
rate: 20.0
observations:
  - {name: camera, shape: [48, 48, 3], dtype: uint8,
     source: {topic: camera, type: sensor_msgs/msg/Image, field: data}}
  - {name: gyro, shape: [3], source: {topic: imu, type: sensor_msgs/msg/Imu, field: angular_velocity}}
actions:
  - {name: arm, low: [-1, -2], high: [1, 2], command: {topic: arm}}
  - {name: gear, values: [[0.0], [1.0], [2.0]], command: {topic: gear}}
reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}
episode: {max_steps: 10}
"""
SPECS = {"cartpole": load_spec("cartpole"), "mixed": parse_spec(MIXED)}
CONFIG = load_config("nano", ["device=cpu"])


def stream(ports: Ports, seed: int = 0) -> RandomInputs:
    return RandomInputs(ports, seed, starts=frozenset({0}))


@dataclass
class Case:
    """An agent in training and its exporter."""

    spec: RobotSpec
    agent: Agent
    exporter: BundleExporter

    def train(self, seed: int) -> None:
        """Move all weights, as updates do."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.agent.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))

    def bundle(self, path: Path, version: int = 1) -> Bundle:
        self.exporter.export(path, version, training_step=10 * version)
        return read_bundle(path, self.spec)


@pytest.fixture(scope="module", params=SPECS)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spec = SPECS[request.param]
    agent = Agent(spec.observation_space(), spec.action_space(), CONFIG)
    yield Case(spec, agent, BundleExporter(agent.policy_step(), spec, CONFIG))
    torch.set_num_threads(threads)


def test_bundle_verifies_and_agrees_with_torch_before_and_after_training(case: Case, tmp_path: Path) -> None:
    traced = None
    for version in (1, 2):
        bundle = case.bundle(tmp_path / "policy.bundle", version)
        assert (bundle.manifest.version, bundle.manifest.training_step) == (version, 10 * version)
        OnnxPolicy(bundle).verify()
        comparison = compare(
            case.exporter.policy, case.exporter.ports, bundle, 60, stream(case.exporter.ports, version)
        )
        assert comparison.above(1e-5) == []
        assert comparison.own["next_deter"].max() > 0, "the two sides are not the same program; some rounding must show"
        assert traced in (None, id(case.exporter.model)), "a refresh must not trace again"
        traced = id(case.exporter.model)
        case.train(seed=version)


def test_refresh_reaches_the_live_agents_weights(case: Case, tmp_path: Path) -> None:
    """Against `Agent.policy_step()` itself, not the exporter's copy."""
    case.bundle(tmp_path / "before.bundle")
    case.train(seed=5)
    bundle = case.bundle(tmp_path / "after.bundle")
    live, ports = case.agent.policy_step(), case.exporter.ports
    assert compare(live, ports, bundle, 20, stream(ports)).above(1e-5) == []
    stale = read_bundle(tmp_path / "before.bundle", case.spec)
    assert "next_deter" in compare(live, ports, stale, 20, stream(ports)).above(1e-2)


def test_every_parameter_is_an_initializer_of_its_name(case: Case) -> None:
    case.exporter.refresh()
    found = {x.name: onnx.numpy_helper.to_array(x) for x in case.exporter.model.graph.initializer}
    for name, value in case.agent.policy_step().state_dict().items():
        assert np.array_equal(found[name], value.numpy()), name


def test_the_graph_is_of_standard_operators_and_keeps_no_trace_of_this_machine(case: Case) -> None:
    model = case.exporter.model
    onnx.checker.check_model(model)
    assert {x.domain for x in model.opset_import} == {""}
    assert "Reciprocal" not in {node.op_type for node in model.graph.node}
    text = model.SerializeToString()
    assert b".py" not in text
    assert str(Path(__file__).parents[2]).encode() not in text


def test_a_tampered_model_fails_its_recording_and_the_comparison(case: Case, tmp_path: Path) -> None:
    bundle = case.bundle(tmp_path / "policy.bundle")
    model = copy.deepcopy(case.exporter.model)
    kernel = next(x for x in model.graph.initializer if x.name == "rssm.gates.kernel")
    kernel.raw_data = (1.01 * onnx.numpy_helper.to_array(kernel)).astype(np.float32).tobytes()
    tampered = Bundle(bundle.manifest, model.SerializeToString(), bundle.recording, bundle.spec, "tampered")
    with pytest.raises(BundleError, match="verification failed: output"):
        OnnxPolicy(tampered).verify()
    comparison = compare(case.exporter.policy, case.exporter.ports, tampered, 20, stream(case.exporter.ports))
    assert "next_deter" in comparison.above(1e-3)


def test_recorded_noise_leaves_a_margin(case: Case) -> None:
    """Half the margin taken from each winner again draws the same classes."""
    policy, ports = case.exporter.policy, case.exporter.ports
    margin = 0.01

    def run(inputs: Arrays) -> Arrays:
        return step(policy, ports, inputs)

    recording = record(run, ports, steps=16, seed=3, margin=margin)
    assert recording["input/is_first"][0] and recording["input/is_first"][1:].any()
    state = {p.name: p.zeros() for p in ports.inputs if p.role == "state"}
    for t in range(16):
        row = {name: array[t][None] for name, array in recording.items()}
        inputs = {name.removeprefix("input/"): x for name, x in row.items() if name.startswith("input/")}
        expected = {name.removeprefix("output/"): x for name, x in row.items() if name.startswith("output/")}
        lowered = with_margin(ports, {k: v for k, v in inputs.items() if "noise" in k}, expected, -margin / 2)
        outputs = run({**inputs, **lowered, **state})
        for name, array in expected.items():
            assert np.array_equal(outputs[name], array), (name, t)
        state = ports.next_states(outputs)


def test_the_mean_action_needs_no_noise(case: Case, tmp_path: Path) -> None:
    policy = OnnxPolicy(case.bundle(tmp_path / "policy.bundle"))
    observation = {o.name: np.zeros(o.shape, o.dtype) for o in case.spec.observations}
    previous = {a.name: a.zero() for a in case.spec.actions}
    first = policy.step(observation, previous, True, None).action
    policy.reset()
    again = policy.step(observation, previous, True, None).action
    policy.reset()
    noisy = policy.step(observation, previous, True, NoiseSource(seed=1)).action
    for action in case.spec.actions:
        assert first[action.name].shape == action.shape and first[action.name].dtype == action.dtype
        assert np.array_equal(first[action.name], again[action.name])
    continuous = next(a.name for a in case.spec.actions if not a.discrete)
    assert not np.array_equal(first[continuous], noisy[continuous])


def test_inputs_are_seeded(case: Case) -> None:
    ports = case.exporter.ports
    one, same, other = (RandomInputs(ports, seed, frozenset({0})) for seed in (1, 1, 2))
    for _ in range(3):
        a, b, c = one.next(), same.next(), other.next()
        assert all(np.array_equal(a[name], b[name]) for name in a)
        assert not np.array_equal(a["latent_noise"], c["latent_noise"])


def test_recorded_inputs_repeat_the_robots_episodes_and_begin_with_one(case: Case) -> None:
    ports = case.exporter.ports
    keys = {p.key: p for p in ports.inputs if p.role == "observation"}
    seen = {k: np.stack([np.full(p.shape, t, p.dtype) for t in range(5)]) for k, p in keys.items()}
    acted = {
        p.key: np.stack([np.full(p.shape, t, p.dtype) for t in range(5)]) for p in ports.inputs if "action" in p.role
    }
    recorded = RecordedInputs(ports, 0, seen, acted, np.array([False, False, True, False, False]))
    rows = [recorded.next() for _ in range(8)]
    first = next(p.name for p in ports.inputs if p.role == "is_first")
    assert [bool(row[first][0]) for row in rows] == [True, False, True, False, False, False, False, True]
    for key, port in keys.items():
        assert [float(row[port.name].mean()) for row in rows] == [0, 1, 2, 3, 4, 0, 1, 2], key
    for port in ports.inputs:
        if port.role == "previous_action":
            assert [float(row[port.name].mean()) for row in rows] == [4, 0, 1, 2, 3, 4, 0, 1]


def test_a_chaotic_model_is_judged_by_single_steps_and_by_how_near_shaken_torch_stays() -> None:
    """Fed back, a drawn class that falls a step before shaken torch's does is no error; what follows is judged."""

    def drifts(deter: list[float], stoch: list[float]) -> dict[str, np.ndarray]:
        return {"next_deter": np.array(deter), "next_stoch": np.array(stoch)}

    single, none = drifts([1e-6] * 4, [0] * 4), drifts([0] * 4, [0] * 4)
    shaken = drifts([1e-6, 1e-3, 2e-2, 6e-2], [0, 0, 0, 1])
    draws = frozenset({"next_stoch"})
    earlier = drifts([1e-6, 4e-3, 5e-2, 1e-1], [0, 0, 1, 1])
    assert Comparison(single, earlier, shaken, none, draws, flips=0).above(1e-3) == []
    faster = drifts([1e-6, 2e-2, 5e-2, 1e-1], [0, 0, 1, 1])
    assert Comparison(single, faster, shaken, none, draws, flips=0).above(1e-3) == ["next_deter"]
    wrong = drifts([1e-6] * 4, [0, 1, 0, 0])
    assert Comparison(wrong, earlier, shaken, none, draws, flips=0).above(1e-3) == ["next_stoch"]
