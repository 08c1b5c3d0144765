"""int8 and float16 weights: what is converted, how exact it is, and that bundles say so and verify."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from export.compare import compare
from export.exporter import BundleExporter
from export.rollout import RandomInputs
from export.weights import BLOCK, FORMATS, convert, quantise
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.onboard.bundle import Bundle, read_bundle
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.spec import load_spec

SPEC = load_spec("cartpole_camera")
CONFIG = load_config("nano", ["device=cpu", "model.deter=256", "model.hidden=32", "model.units=32"])


@pytest.fixture(scope="module", params=["int8", "float16"])
def exporter(request: pytest.FixtureRequest) -> Iterator[BundleExporter]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    agent = Agent(SPEC.observation_space(), SPEC.action_space(), CONFIG)
    yield BundleExporter(agent.policy_step(), SPEC, CONFIG, weights=request.param)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bundle(exporter: BundleExporter, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bundle") / "policy.bundle"
    exporter.export(path, version=1, training_step=10)
    return read_bundle(path, SPEC)


@pytest.mark.parametrize("inputs", [BLOCK, 3 * BLOCK, 2 * BLOCK + 5])
def test_quantised_kernels_are_off_by_half_a_step_at_most(inputs: int) -> None:
    kernel = np.random.default_rng(0).standard_normal((inputs, 7)).astype(np.float32)
    kernel[:, 3] = 0
    codes, scales = quantise(kernel)
    blocks = -(-inputs // BLOCK)
    assert codes.shape == (7, blocks, BLOCK) and scales.shape == (7, blocks)
    back = (codes.astype(np.float32) - 128) * scales[..., None]
    padded = np.zeros((7, blocks * BLOCK), np.float32)
    padded[:, :inputs] = kernel.T
    error = np.abs(back - padded.reshape(back.shape))
    assert (error <= 0.5001 * scales[..., None]).all()
    assert (codes[3] == 128).all() and codes.min() >= 1


def test_what_is_converted(exporter: BundleExporter, bundle: Bundle) -> None:
    model = onnx.load_from_string(bytes(bundle.model))
    onnx.checker.check_model(model)
    assert bundle.manifest.weights == exporter.format.name
    wide = {x.name for x in model.graph.initializer if x.data_type == onnx.TensorProto.FLOAT and len(x.dims) >= 2}
    kernels = {name for name, p in exporter.policy.named_parameters() if name.endswith(".kernel")}
    heads = {name for name in kernels if name.endswith(".out.kernel")}
    if exporter.format.name == "float16":
        assert wide == heads  # the block GRU and the convolutions too are half as large
        half = [x.name for x in model.graph.initializer if x.data_type == onnx.TensorProto.FLOAT16]
        assert {name.removesuffix(".half") for name in half if name.endswith(".kernel.half")} == kernels - heads
    else:
        products = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
        blocks = CONFIG.model.blocks
        assert len(products) > 2 * blocks  # each block of both block kernels is a product of its own
        shapes = {name: p.shape for name, p in exporter.policy.named_parameters() if name in kernels - heads}
        large = {name for name, shape in shapes.items() if len(shape) < 4 and shape[-2] >= 32 and shape[-1] >= 16}
        assert {"rssm.hidden.0.kernel", "rssm.gates.kernel", "rssm.deter_in.kernel"} < large
        assert wide & large == set()
        assert wide & kernels == kernels - large


def test_it_verifies_and_single_steps_are_within_the_stated_drift(exporter: BundleExporter, bundle: Bundle) -> None:
    OnnxPolicy(bundle).verify()
    stream = RandomInputs(exporter.ports, 0, starts=frozenset({0}))
    comparison = compare(exporter.policy, exporter.ports, bundle, 60, stream, exporter.format.tie)
    assert comparison.above(exporter.format.tolerance, exact=False) == []
    assert comparison.injected["next_deter"].max() > 1e-5, "as if it were float32"


def test_wrong_weights_are_above_the_stated_drift(exporter: BundleExporter, bundle: Bundle) -> None:
    tampered = convert(exporter.model, exporter.format.name)
    for tensor in tampered.graph.initializer:
        if tensor.name.endswith((".scales", ".kernel.half")):
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    wrong = Bundle(bundle.manifest, tampered.SerializeToString(), bundle.recording, SPEC, "wrong")
    stream = RandomInputs(exporter.ports, 0, starts=frozenset({0}))
    comparison = compare(exporter.policy, exporter.ports, wrong, 20, stream, exporter.format.tie)
    assert "surprise" in comparison.above(exporter.format.tolerance, exact=False)


def test_a_refresh_reaches_converted_weights(exporter: BundleExporter, tmp_path: Path) -> None:
    before = convert(exporter.model, exporter.format.name).SerializeToString()
    with torch.no_grad():
        for parameter in exporter._live.parameters():
            parameter.add_(0.01)
    exporter.refresh()
    assert convert(exporter.model, exporter.format.name).SerializeToString() != before


def test_bundles_are_smaller(exporter: BundleExporter, bundle: Bundle) -> None:
    whole = sum(4 * p.numel() for p in exporter.policy.parameters())
    assert len(bundle.model) < 0.75 * whole  # the heads' last layers are whole, and large in a small model
    assert FORMATS[bundle.manifest.weights] is exporter.format
