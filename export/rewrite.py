"""Rewrites of the traced graph that make it fast in ONNX Runtime, with standard operators only.

Each was found by profiling; `benchmarks/onboard.py` shows what they give together, docs/export.md one by one.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import onnx_ir
from onnxscript import opset18
from onnxscript.rewriter import pattern


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """torch.lerp in three nodes; the exporter's own translation has eight and computes both ways around."""
    return opset18.Add(start, opset18.Mul(weight, opset18.Sub(end, start)))


class DivideByRoot(pattern.RewriteRuleClassBase):
    """x * (1 / sqrt(v)) -> x / sqrt(v): the only form in which ONNX Runtime finds an RMS norm and makes it one node."""

    def pattern(self, op: Any, x: Any, v: Any) -> Any:
        return op.Mul(x, op.Reciprocal(op.Sqrt(v)))

    def rewrite(self, op: Any, x: Any, v: Any) -> Any:
        return op.Div(x, op.Sqrt(v))


class SplitBlocks(pattern.RewriteRuleClassBase):
    """A product with a large block kernel (G, in, out) -> G products with matrices.

    ONNX Runtime packs constant matrices into a layout that it reads at full memory bandwidth, but not constant stacks
    of them. It cuts the constant kernel once, when it loads the model; no step cuts or copies weights.
    """

    def __init__(self, parameters: Collection[str], above: int) -> None:
        super().__init__()
        self._parameters, self._above = parameters, above

    def pattern(self, op: Any, x: Any, kernel: Any) -> Any:
        return op.MatMul(x, kernel)

    def check(self, op: Any, x: Any, kernel: onnx_ir.Value) -> bool:  # type: ignore[override]
        if kernel.name not in self._parameters or kernel.shape is None or len(kernel.shape) != 3:
            return False
        return math.prod(kernel.shape.numpy()) * 4 > self._above

    def rewrite(self, op: Any, x: Any, kernel: onnx_ir.Value) -> Any:
        blocks = kernel.shape[0]  # type: ignore[index]
        first = op.Constant(value_ints=[0])
        rows = op.Split(x, axis=0, num_outputs=blocks, _outputs=blocks)
        matrices = op.Split(kernel, axis=0, num_outputs=blocks, _outputs=blocks)
        products = [op.MatMul(row, op.Squeeze(matrix, first)) for row, matrix in zip(rows, matrices, strict=True)]
        return op.Concat(*products, axis=0)


def optimise(model: onnx_ir.Model, parameters: Collection[str], split_above: int | None) -> None:
    """Apply all rewrites in place.

    Args:
      parameters: names of the values that are weights.
      split_above: bytes from which a block kernel is split; None: never.
    """
    rules = [DivideByRoot.rule()]
    if split_above is not None:
        rules.append(SplitBlocks.rule(parameters, split_above))
    pattern.RewriteRuleSet(rules).apply_to_model(model)
