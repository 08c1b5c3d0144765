"""ONNX policies step, carry their state, prove themselves and never hand out NaN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from robot_dreamer.onboard.bundle import BundleError, Port, read_bundle, write_bundle
from robot_dreamer.onboard.noise import NoiseSource
from robot_dreamer.onboard.policy import OnnxPolicy, PolicyFault, RandomPolicy
from robot_dreamer.record import RANDOM_POLICY
from robot_dreamer.spec import RobotSpec
from tests.onboard_models import discrete_spec, make_bundle, record, toy_manifest, toy_model, toy_spec

SPEC = toy_spec()
PREVIOUS = {"torque": np.array([0.25, -0.75], np.float32)}


def observe(speed: float = 0.5) -> dict[str, NDArray[Any]]:
    return {"angle": np.array([1.0, 0.0], np.float32), "speed": np.array([speed], np.float32)}


def load(tmp_path: Path, spec: RobotSpec = SPEC, **model: Any) -> OnnxPolicy:
    return OnnxPolicy(read_bundle(make_bundle(tmp_path / "p.bundle", spec, **model), spec))


def test_steps_feed_the_state_back(tmp_path: Path) -> None:
    policy = load(tmp_path)
    hidden = 1.5  # sum of observations
    output = policy.step(observe(), PREVIOUS, True, None)
    for _ in range(3):
        np.testing.assert_allclose(policy.state["hidden"], np.full((1, 3), hidden), rtol=1e-6)
        np.testing.assert_allclose(output.action["torque"], np.full(2, np.tanh(hidden)), rtol=1e-6)
        assert output.action["torque"].shape == (2,)
        assert output.surprise == pytest.approx(hidden)
        assert np.isnan(output.value)
        output = policy.step(observe(), PREVIOUS, False, None)
        hidden = 0.5 * hidden - 0.5 + 1.5
    policy.reset()
    np.testing.assert_array_equal(policy.state["hidden"], np.zeros((1, 3)))


def test_is_first_forgets(tmp_path: Path) -> None:
    policy = load(tmp_path)
    for _ in range(4):
        policy.step(observe(), PREVIOUS, False, None)
    policy.step(observe(), PREVIOUS, True, None)
    np.testing.assert_allclose(policy.state["hidden"], np.full((1, 3), 1.5), rtol=1e-6)


def test_noise_is_seeded_and_deterministic_silences_only_the_action(tmp_path: Path) -> None:
    policy = load(tmp_path)

    def act(noise: NoiseSource | None) -> tuple[NDArray[Any], NDArray[Any]]:
        output = policy.step(observe(0.0), PREVIOUS, True, noise)
        return output.action["torque"], policy.state["hidden"]

    same, other = act(NoiseSource(1)), act(NoiseSource(2))
    np.testing.assert_array_equal(act(NoiseSource(1))[0], same[0])
    assert not np.array_equal(same[0], other[0])
    action, state = act(NoiseSource(1, deterministic=True))
    np.testing.assert_allclose(action, np.full(2, np.tanh(state.mean())), rtol=1e-6)
    assert np.ptp(state) > 0  # latents are sampled all the same


def test_noise_distributions() -> None:
    noise, out = NoiseSource(0), np.zeros((1, 20000), np.float32)
    noise.fill(Port("n", "latent_noise", "z", (20000,)), False, out)
    assert out.mean() == pytest.approx(0.5772, abs=0.03)  # Gumbel: Euler's constant
    assert out.var() == pytest.approx(np.pi**2 / 6, abs=0.05)
    noise.fill(Port("n", "action_noise", "a", (20000,)), True, out)
    assert out.mean() == pytest.approx(0.5772, abs=0.03)
    noise.fill(Port("n", "action_noise", "a", (20000,)), False, out)
    assert (out.mean(), out.var()) == (pytest.approx(0, abs=0.03), pytest.approx(1, abs=0.05))
    noise.fill(Port("n", "latent_noise", "z", (20000,), "float32", "normal"), False, out)
    assert out.mean() == pytest.approx(0, abs=0.03)


def test_discrete_action(tmp_path: Path) -> None:
    spec = discrete_spec()
    policy = load(tmp_path, spec)
    output = policy.step(observe(), {"gear": np.asarray(1, np.int64)}, True, None)
    assert output.action["gear"].shape == () and output.action["gear"].dtype == np.int64
    assert int(output.action["gear"]) == 2  # the ramp's top
    seen = {
        int(policy.step(observe(-1.0), {"gear": np.asarray(0)}, True, NoiseSource(s)).action["gear"]) for s in range(30)
    }
    assert seen == {0, 1, 2}


def test_nan_is_a_fault_and_the_state_stays(tmp_path: Path) -> None:
    policy = load(tmp_path, nan_above=10.0)
    policy.step(observe(), PREVIOUS, True, None)
    before = policy.state["hidden"]
    with pytest.raises(PolicyFault, match="policy 1: action torque is not finite"):
        policy.step(observe(50.0), PREVIOUS, False, None)
    np.testing.assert_array_equal(policy.state["hidden"], before)
    with pytest.raises(PolicyFault, match="ONNX Runtime failed|not finite"):
        policy.step(observe(np.inf), PREVIOUS, False, None)


def test_state_can_be_carried_and_must_fit(tmp_path: Path) -> None:
    policy = load(tmp_path)
    policy.step(observe(), PREVIOUS, True, None)
    heir = load(tmp_path, version=2)
    heir.state = policy.state
    np.testing.assert_array_equal(heir.state["hidden"], policy.state["hidden"])
    wider = load(tmp_path, hidden=4)
    with pytest.raises(ValueError, match="state layout"):
        wider.state = policy.state


def test_verification_accepts_the_recording(tmp_path: Path) -> None:
    policy = load(tmp_path)
    policy.step(observe(), PREVIOUS, True, None)
    policy.verify()
    np.testing.assert_array_equal(policy.state["hidden"], np.zeros((1, 3)))


@pytest.mark.parametrize("name", ["output/action_torque", "output/hidden_next", "output/surprise"])
def test_verification_names_port_and_step(tmp_path: Path, name: str) -> None:
    model, inputs, outputs = toy_model(SPEC)
    recording = record(model, inputs, outputs)
    recording[name] = recording[name].copy()
    recording[name][7] += 0.01
    path = tmp_path / "bad.bundle"
    write_bundle(path, model, toy_manifest(SPEC, inputs, outputs), recording)
    with pytest.raises(BundleError, match=f"bad.bundle: verification failed: output {name[7:]}, step 7"):
        OnnxPolicy(read_bundle(path, SPEC)).verify()


def test_model_and_manifest_must_agree(tmp_path: Path) -> None:
    model, inputs, outputs = toy_model(SPEC, hidden=4)
    claimed = toy_model(SPEC, hidden=3)
    path = tmp_path / "x"
    write_bundle(path, model, toy_manifest(SPEC, claimed[1], claimed[2]), record(*claimed))
    with pytest.raises(BundleError, match=r"input hidden: the manifest says float32\[1, 3\], the model has .*\[1, 4\]"):
        OnnxPolicy(read_bundle(path, SPEC))
    write_bundle(path, b"not a model", toy_manifest(SPEC, inputs, outputs), record(model, inputs, outputs))
    with pytest.raises(BundleError, match="ONNX Runtime cannot load"):
        OnnxPolicy(read_bundle(path, SPEC))


def test_random_policy() -> None:
    policy = RandomPolicy(SPEC, seed=0)
    actions = np.stack([policy.step({}, {}, False, None).action["torque"] for _ in range(500)])
    assert actions.dtype == np.float32 and actions.shape == (500, 2)
    assert np.abs(actions).max() <= 1 and np.abs(actions.mean(0)).max() < 0.1 and actions.std() > 0.5
    assert policy.version == RANDOM_POLICY
    gears = [int(RandomPolicy(discrete_spec(), s).step({}, {}, False, None).action["gear"]) for s in range(40)]
    assert set(gears) == {0, 1, 2}
