"""A runtime that knows nothing of bundles flies policy.onnx by what stands in its metadata_props."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from export.exporter import BundleExporter
from export.metadata import metadata
from export.ports import Ports
from export.weights import convert
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.onboard.bundle import Bundle, read_bundle
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.spec import RobotSpec, load_spec, parse_spec

ARM = """
name: arm
rate: 20.0
observations:
  - {name: joints, shape: [2], unit: rad, scale: [0.5, -1.0], offset: [0.1, 0.0],
     source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: position, names: [pan, lift]}}
actions:
  - {name: arm, unit: rad, low: [-1.0, 0.2], high: [1.0, 1.0], neutral: [0.0, 0.3], max_rate: [2.0, 2.0],
     command: {topic: arm, names: [pan, lift], scale: [2.0, 1.0]}, filter: {cutoff: 5.0}}
  - {name: gripper, unit: m, low: [0.0], high: [0.1], command: {topic: gripper, names: [finger]}}
reward: {expression: "-joints[0]"}
episode: {max_steps: 10}
"""
SPEC = parse_spec(ARM)
CONFIG = load_config("nano", ["device=cpu"])


@pytest.fixture(scope="module")
def exporter() -> BundleExporter:
    torch.set_num_threads(1)
    agent = Agent(SPEC.observation_space(), SPEC.action_space(), CONFIG)
    return BundleExporter(agent.policy_step(), SPEC, CONFIG)


def bundle(exporter: BundleExporter, path: Path, version: int = 1) -> Bundle:
    exporter.export(path, version, training_step=version)
    return read_bundle(path, SPEC)


def test_a_runtime_flies_the_policy_by_its_metadata_alone(exporter: BundleExporter, tmp_path: Path) -> None:
    """Scales, feedback of the state, noise and commands as it says: the same commands as on board, over an episode."""
    made = bundle(exporter, tmp_path / "a.zip")
    ours = OnnxPolicy(made)
    session = onnxruntime.InferenceSession(bytes(made.model), providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    observations, actions, states, noise = (
        json.loads(told[key]) for key in ("observations", "actions", "states", "noise")
    )
    assert float(told["update_rate"]) == 20.0 and told["spec_hash"] == SPEC.hash
    kinds = {"tensor(float)": np.float32, "tensor(bool)": np.bool_}
    feed = {x.name: np.zeros(x.shape, kinds[x.type]) for x in session.get_inputs()}
    assert set(feed) == {
        *(o["input"] for o in observations),
        *(a["executed_input"] for a in actions),
        *states,
        *noise,
        "is_first",
    }
    previous = {a.name: a.zero() for a in SPEC.actions}
    for t in range(5):
        message = np.array([0.3 * t, 1.0 - t])
        scaled = np.asarray(observations[0]["scale"]) * message + np.asarray(observations[0]["offset"])
        feed[observations[0]["input"]][0] = scaled
        feed["is_first"][:] = t == 0
        found = dict(zip([x.name for x in session.get_outputs()], session.run(None, feed), strict=True))
        observation = {"joints": SPEC.observations[0].from_message(message).astype(np.float32)}
        expected = ours.step(observation, previous, t == 0, None).action
        for spec, entry in zip(SPEC.actions, actions, strict=True):
            action = np.clip(found[entry["output"]][0], -1, 1)
            command = np.asarray(entry["action_offset"]) + np.asarray(entry["action_scale"]) * action
            np.testing.assert_allclose(command, spec.to_command(expected[spec.name]), atol=1e-6)
            sent = np.asarray(entry["message_scale"]) * command + np.asarray(entry["message_offset"])
            np.testing.assert_allclose(sent, spec.command.to_message(command))
            feed[entry["executed_input"]] = found[entry["output"]]
        previous = expected
        feed |= {before: found[after] for before, after in states.items()}


def test_what_others_read_is_there_in_their_form(exporter: BundleExporter) -> None:
    told = {x.key: x.value for x in exporter.model.metadata_props}
    assert told["joint_names"] == "pan,lift,finger" and told["observation_names"] == "joints"
    assert told["action_scale"] == "1.0,0.4,0.05"
    assert told["default_joint_pos"] == "0.0,0.6,0.05", "target = default_joint_pos + action_scale * action"
    arm = json.loads(told["actions"])[0]
    assert arm["neutral"] == [0.0, 0.3] and arm["max_rate"] == [2.0, 2.0]
    assert arm["low_pass"] == {"cutoff": 5.0, "order": 2} and (arm["low"], arm["high"]) == ([-1.0, 0.2], [1.0, 1.0])


@pytest.mark.parametrize(("robot", "poses"), [("cartpole", False), ("diff_drive_camera", False), ("a1", True)])
def test_every_observation_and_action_of_a_robot_is_told(robot: str, poses: bool) -> None:
    """A force or a velocity has no default pose."""
    spec: RobotSpec = load_spec(robot)
    ports = Ports.of(spec, Agent(spec.observation_space(), spec.action_space(), CONFIG).policy_step().layout)
    told = metadata(spec, ports, "nano")
    assert [o["name"] for o in json.loads(told["observations"])] == [o.name for o in spec.observations]
    for entry, action in zip(json.loads(told["actions"]), spec.actions, strict=True):
        assert entry["neutral"] == action.neutral_command().tolist() and tuple(entry["names"]) == action.command.names
    assert ("default_joint_pos" in told) == poses


def test_equal_policies_have_equal_bytes(exporter: BundleExporter, tmp_path: Path) -> None:
    first, second = (bundle(exporter, tmp_path / f"{v}.zip", v) for v in (1, 2))
    assert first.manifest.files["policy.onnx"] == second.manifest.files["policy.onnx"]


@pytest.mark.parametrize("weights", ["int8", "float16"])
def test_smaller_weights_keep_it(exporter: BundleExporter, weights: str) -> None:
    assert list(convert(exporter.model, weights).metadata_props) == list(exporter.model.metadata_props)
