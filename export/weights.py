"""Smaller weights: int8 for CPUs, float16 for GPUs. A rewrite of the finished graph; everything else stays float32.

A policy step reads every weight once, so on a CPU its time is the bytes of its weights over the memory bandwidth. int8
weights are a quarter of them. Each column of a kernel is cut into blocks of 64 entries with a scale of their own
(MatMulNBits, an operator of ONNX Runtime); the product's input is rounded to int8 too, block by block, while it runs.
float16 halves the bytes and lets a GPU use its tensor cores; norms, softmax and the heads' expectations over bins as
large as 5e8, which float16 cannot hold, stay float32.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from robot_dreamer.onboard.manifest import TOLERANCES

SPLIT_ABOVE = 512 * 1024  # bytes of a float32 block kernel; below, the extra nodes cost more than the layout gives
BLOCK = 64  # entries of a column that share a scale
_INT8_ACTIVATIONS = 4  # MatMulNBits's accuracy_level; without it ONNX Runtime multiplies in float32, 50 times slower
_LEAST_INPUTS, _LEAST_OUTPUTS = 32, 16  # smaller products gain nothing
_KEPT = ".out.kernel"  # the heads' last layers: small, and what they give is exponentiated or bounded only by the guard


@dataclass(frozen=True)
class WeightFormat:
    """How the weights of a bundle are held, and what that may change.

    Attributes:
      name: also in the manifest.
      exact: the program is PyTorch's but for float32 rounding; otherwise only the error of a single step is bounded.
      split_above: bytes from which a block kernel is cut into matrices; None: never.
      tolerance: largest drift from PyTorch in one step, relative, when exporting.
      recorded_tolerance: largest drift of a robot from the recording, relative.
      margin: nats by which a drawn class wins in the recording.
      tie: nats; two classes closer than this may swap places without being an error.
    """

    name: Literal["float32", "float16", "int8"]
    exact: bool
    split_above: int | None
    tolerance: float
    recorded_tolerance: float
    margin: float
    tie: float


FORMATS = {
    "float32": WeightFormat("float32", True, SPLIT_ABOVE, 1e-3, TOLERANCES["float32"], margin=0.01, tie=1e-3),
    "float16": WeightFormat("float16", False, None, 1e-2, TOLERANCES["float16"], margin=0.1, tie=1e-2),
    "int8": WeightFormat("int8", False, 0, 2e-1, TOLERANCES["int8"], margin=0.5, tie=0.5),
}


def convert(model: onnx.ModelProto, weights: str) -> onnx.ModelProto:
    """A copy of a filled float32 model with its kernels in another format; float32 gives the model itself.

    Args:
      model: as `trace` gives it with this format's `split_above`.
      weights: a key of FORMATS.
    """
    if weights == "float32":
        return model
    model = copy.deepcopy(model)
    constants = _fold_slices(model)
    nodes: list[onnx.NodeProto] = []
    added: dict[str, onnx.TensorProto] = {}
    for node in model.graph.node:
        kernel = constants.get(node.input[1]) if node.op_type in ("MatMul", "Gemm", "Conv") else None
        if kernel is None or node.input[1].endswith(_KEPT):
            nodes.append(node)
        elif weights == "float16" and kernel.ndim > 1:  # the bins of a head are no kernel, and too large for it
            nodes += _half_product(node, constants, added)
        elif weights == "int8" and _worth_quantising(node, kernel):
            nodes.append(_int8_product(node, kernel, added))
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [numpy_helper.from_array(array, name) for name, array in constants.items() if name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([*kept, *added.values()])
    if weights == "int8":
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def _fold_slices(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Cut the block kernels here, instead of when the model is loaded; returns all constants by name."""
    constants: dict[str, NDArray[Any]] = {x.name: numpy_helper.to_array(x) for x in model.graph.initializer}
    rest = []
    for node in model.graph.node:
        source = constants.get(node.input[0]) if node.op_type in ("Split", "Squeeze") else None
        if source is None:
            rest.append(node)
        elif node.op_type == "Split":
            constants |= dict(zip(node.output, np.split(source, len(node.output), axis=0), strict=True))
        else:
            constants[node.output[0]] = source[0]
    del model.graph.node[:]
    model.graph.node.extend(rest)
    return constants


def _worth_quantising(node: onnx.NodeProto, kernel: NDArray[Any]) -> bool:
    return (
        node.op_type in ("MatMul", "Gemm")
        and kernel.ndim == 2
        and kernel.shape[0] >= _LEAST_INPUTS
        and kernel.shape[1] >= _LEAST_OUTPUTS
    )


def quantise(kernel: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """(in, out) -> codes (out, blocks, BLOCK), 128 for zero, and scales (out, blocks). A last block is padded."""
    inputs, outputs = kernel.shape
    blocks = -(-inputs // BLOCK)
    padded = np.zeros((outputs, blocks * BLOCK), np.float32)
    padded[:, :inputs] = kernel.T
    columns = padded.reshape(outputs, blocks, BLOCK)
    scales = np.abs(columns).max(-1) / 127
    codes = np.rint(columns / np.where(scales > 0, scales, 1)[..., None]) + 128
    return codes.astype(np.uint8), scales.astype(np.float32)


def _int8_product(
    node: onnx.NodeProto, kernel: NDArray[np.float32], added: dict[str, onnx.TensorProto]
) -> onnx.NodeProto:
    x, name, *bias = node.input
    codes, scales = quantise(kernel)
    added[f"{name}.codes"] = numpy_helper.from_array(codes, f"{name}.codes")
    added[f"{name}.scales"] = numpy_helper.from_array(scales, f"{name}.scales")
    inputs = [x, f"{name}.codes", f"{name}.scales"] + (["", "", *bias] if bias else [])
    size: dict[str, Any] = {"K": kernel.shape[0], "N": kernel.shape[1], "bits": 8, "block_size": BLOCK}
    return helper.make_node(
        "MatMulNBits", inputs, node.output, domain="com.microsoft", accuracy_level=_INT8_ACTIVATIONS, **size
    )


def _half_product(
    node: onnx.NodeProto, constants: dict[str, NDArray[Any]], added: dict[str, onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """The product between casts; its kernel and bias become float16."""
    x, *parameters = node.input
    result = node.output[0]
    inputs, casts = [], []
    for name in parameters:
        half = f"{name}.half"
        if name in constants:
            added[half] = numpy_helper.from_array(constants[name].astype(np.float16), half)
        else:  # a row of a constant, taken as it runs: Dreamer V1's cell has two biases in one
            half = f"{result}.{half}"
            casts.append(helper.make_node("Cast", [name], [half], to=TensorProto.FLOAT16))
        inputs.append(half)
    product = copy.deepcopy(node)
    del product.input[:], product.output[:]
    product.input.extend([f"{result}.input", *inputs])
    product.output.append(f"{result}.half")
    return [
        *casts,
        helper.make_node("Cast", [x], [f"{result}.input"], to=TensorProto.FLOAT16),
        product,
        helper.make_node("Cast", [f"{result}.half"], [result], to=TensorProto.FLOAT),
    ]
