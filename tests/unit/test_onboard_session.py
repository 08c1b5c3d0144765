"""Sessions: buffers bound once, on the CPU and as on a GPU; providers and the way back to the CPU."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.onboard.provider import PROVIDERS, attempts, open_session
from robot_dreamer.onboard.session import StepSession
from tests.onboard_models import make_bundle, toy_model, toy_spec

SPEC = toy_spec()


def session(shared: bool | None) -> StepSession:
    model, inputs, outputs = toy_model(SPEC)
    return StepSession(model, tuple(inputs), tuple(outputs), "float32", shared=shared)


@pytest.mark.parametrize("shared", [None, False])
def test_state_moves_on_only_when_accepted(shared: bool | None) -> None:
    """`shared=False` copies to and from ONNX Runtime's own memory, as on a GPU."""
    s = session(shared)
    s.inputs["obs_speed"][0] = 2.0
    for _ in range(2):
        s.run()
        np.testing.assert_allclose(s.next_state["hidden"], np.full((1, 3), 2.0))
        np.testing.assert_array_equal(s.state["hidden"], np.zeros((1, 3)))
    for expected in (2.0, 3.0, 3.5):
        s.run()
        s.accept()
        np.testing.assert_allclose(s.state["hidden"], np.full((1, 3), expected))
        np.testing.assert_allclose(s.outputs["surprise"], [expected])
    kept = s.state
    s.run()
    s.accept()
    np.testing.assert_allclose(kept["hidden"], np.full((1, 3), 3.5))
    s.state = kept
    np.testing.assert_array_equal(s.state["hidden"], kept["hidden"])
    s.reset()
    s.run()
    np.testing.assert_allclose(s.next_state["hidden"], np.full((1, 3), 2.0))


def test_buffers_are_those_of_onnx_runtime() -> None:
    """A step allocates nothing: what numpy reads and writes stays where it was."""
    s = session(None)
    before = {name: x.ctypes.data for name, x in (s.inputs | s.outputs).items()}
    for _ in range(3):
        s.inputs["obs_speed"] += 1.0
        s.run()
        s.accept()
    assert before == {name: x.ctypes.data for name, x in (s.inputs | s.outputs).items()}
    assert s.outputs["surprise"][0] == pytest.approx(3.0 + 1.0 + 0.25)


def test_cuda_and_tensorrt_are_tried_before_the_cpu() -> None:
    assert [a.name for a in attempts("cpu", "float32")] == ["cpu"]
    cuda = attempts("cuda", "float32")
    assert [a.name for a in cuda] == ["cuda, captured graph", "cuda", "cpu"]
    assert [a.captured for a in cuda] == [True, False, False]
    assert [a.device for a in cuda] == ["cuda", "cuda", "cpu"]
    name, options = cuda[0].providers[0]
    assert name == "CUDAExecutionProvider" and options["enable_cuda_graph"] == "1" and options["use_tf32"] == "0"
    assert "enable_cuda_graph" not in cuda[1].providers[0][1]
    for weights, half in (("float32", "0"), ("float16", "1")):
        first, last = attempts("tensorrt", weights)
        assert [p for p, _ in first.providers] == [
            "TensorrtExecutionProvider",
            "CUDAExecutionProvider",
            "CPUExecutionProvider",
        ]
        assert first.providers[0][1]["trt_fp16_enable"] == half
        assert last.name == "cpu"
    with pytest.raises(ValueError, match="provider: expected one of cpu, cuda, tensorrt, found 'gpu'"):
        attempts("gpu", "float32")


def test_int8_weights_say_which_onnx_runtime_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy_model(SPEC)[0]
    for version in ("1.17.3", "1.21.0"):
        monkeypatch.setattr(onnxruntime, "__version__", version)
        with pytest.raises(RuntimeError, match=f"int8 weights need ONNX Runtime 1.22 or later, this is {version}"):
            open_session(model, "int8", 1, "cpu")
        open_session(model, "float32", 1, "cpu")
    for version in ("1.22.0", "1.23.2", "2.0.0"):
        monkeypatch.setattr(onnxruntime, "__version__", version)
        open_session(model, "int8", 1, "cpu")


@pytest.mark.parametrize("provider", [p for p in PROVIDERS if p != "cpu"])
def test_a_missing_provider_is_named_and_the_cpu_acts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    policy = OnnxPolicy(read_bundle(make_bundle(tmp_path / "p.bundle", SPEC), SPEC), provider=provider)
    assert policy.runs_on == "cpu"
    assert f"provider {provider} asked for, runs on cpu: this onnxruntime" in policy.fallback
    assert "has only CPUExecutionProvider; install onnxruntime-gpu" in policy.fallback
    policy.verify()
    assert OnnxPolicy(read_bundle(tmp_path / "p.bundle", SPEC)).fallback == ""


def test_a_provider_whose_libraries_are_missing_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu lists CUDA, and silently leaves it out of the session where its libraries cannot be loaded."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnxruntime's own
        made, way, why = open_session(toy_model(SPEC)[0], "float32", 1, "cuda")
    assert way.name == "cpu" and made.get_providers() == ["CPUExecutionProvider"]
    assert why.startswith("provider cuda asked for, runs on cpu: cuda, captured graph: ")
    assert "; cuda: " in why


def test_a_graph_that_cannot_be_captured_runs_without_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime refuses capture when a node is not on the GPU; everything but that goes to the real one."""
    real = onnxruntime.InferenceSession

    class OnGpu:
        def __init__(self, path: str, options: onnxruntime.SessionOptions, providers: list, **_: object) -> None:
            if "enable_cuda_graph" in providers[0][1]:
                raise RuntimeError("This session cannot use the graph capture feature")
            self.inner = real(path, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", OnGpu)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    _, way, why = open_session(toy_model(SPEC)[0], "float32", 1, "cuda")
    assert (way.name, way.captured) == ("cuda", False)
    assert why == (
        "provider cuda asked for, runs on cuda: cuda, captured graph: This session cannot use the graph capture feature"
    )


def test_the_bundle_may_go_once_the_policy_is_there(tmp_path: Path) -> None:
    bundle = read_bundle(make_bundle(tmp_path / "p.bundle", SPEC), SPEC)
    policy = OnnxPolicy(dataclasses.replace(bundle, model=bytes(bundle.model)))
    (tmp_path / "p.bundle").unlink()
    policy.verify()
