"""What ONNX Runtime makes of the exported graph: fused norms, packed block kernels, no weights moved at run time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from export.exporter import BundleExporter
from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.spec import load_spec


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, onnx.ModelProto, onnx.ModelProto]:
    """A policy with block kernels large enough to be split, its model, and the model that ONNX Runtime runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spec = load_spec("cartpole")
    config = load_config("nano", ["device=cpu", "model.deter=768", "model.hidden=64"])
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    exporter = BundleExporter(agent.policy_step(), spec, config)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(tmp_path_factory.mktemp("graph") / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(exporter.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    torch.set_num_threads(threads)
    return exporter.policy, exporter.model, onnx.load(Path(options.optimized_model_filepath))


def test_each_norm_is_one_node(graphs: tuple[nn.Module, onnx.ModelProto, onnx.ModelProto]) -> None:
    policy, _, optimised = graphs
    norms = sum(name.endswith("scale") for name, _ in policy.named_parameters())
    counts = Counter(node.op_type for node in optimised.graph.node)
    assert counts["SimplifiedLayerNormalization"] == norms
    assert counts["Pow"] == counts["Sqrt"] == 0


def test_tanh_is_one_node(graphs: tuple[nn.Module, onnx.ModelProto, onnx.ModelProto]) -> None:
    """Of the recurrent state and of the mean action; a learner on a CPU writes the first one in four operations."""
    _, written, _ = graphs
    assert [node.op_type for node in written.graph.node].count("Tanh") == 2


def test_block_kernels_are_split_when_the_model_is_loaded(
    graphs: tuple[nn.Module, onnx.ModelProto, onnx.ModelProto],
) -> None:
    policy, model, optimised = graphs
    kernels = {name for name, p in policy.named_parameters() if p.dim() == 3}
    assert kernels == {"rssm.hidden.0.kernel", "rssm.gates.kernel"}
    split = {node.input[0] for node in model.graph.node if node.op_type == "Split"}
    assert kernels <= split
    shapes = {x.name: tuple(x.dims) for x in optimised.graph.initializer}
    kinds = ("MatMul", "Gemm", "FusedMatMul")
    products = [n for n in optimised.graph.node if n.op_type in kinds and n.input[1] in shapes]
    assert all(len(shapes[node.input[1]]) <= 2 for node in products)
    assert len([n for n in products if shapes[n.input[1]] in ((288, 96), (96, 288))]) == 16


def test_no_weight_is_moved_at_run_time(graphs: tuple[nn.Module, onnx.ModelProto, onnx.ModelProto]) -> None:
    _, _, optimised = graphs
    weights = {x.name for x in optimised.graph.initializer if len(x.dims) >= 2}
    movers = ("Transpose", "Split", "Slice", "Reshape", "Squeeze", "Cast", "Expand", "Gather", "Concat")
    moved = [n.name for n in optimised.graph.node if n.op_type in movers and weights & set(n.input)]
    assert moved == []
