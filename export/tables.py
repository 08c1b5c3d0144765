"""What an export prints: drift of every output, and the time of a step on both sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from export.compare import Comparison, OnnxSide, latency
from export.exporter import BundleExporter
from export.rollout import step
from robot_dreamer.onboard.bundle import Bundle
from robot_dreamer.record import Arrays


def drift_table(comparison: Comparison, steps: int, tolerance: float, bad: Sequence[str]) -> str:
    """Drift of every output, one line each; `bad` are marked."""
    lines = [
        f"drift over {steps} steps, |onnx - torch| / (1 + |torch|), tolerance {tolerance:g}",
        f"{'':24}{'torch state given':>24}{'own state fed back':>24}",
        f"{'output':24}{'p99':>12}{'max':>12}{'p99':>12}{'max':>12}{'unavoidable':>14}",
    ]
    for name in comparison.injected:
        numbers = [f(x) for x in (comparison.injected[name], comparison.own[name]) for f in (_p99, np.max)]
        verdict = "  ABOVE TOLERANCE" if name in bad else ""
        unavoidable = f"{max(comparison.resolution[name].max(), comparison.shaken[name].max()):14.2e}"
        lines.append(f"{name:24}" + "".join(f"{number:12.2e}" for number in numbers) + unavoidable + verdict)
    lines.append(f"draws that rounding moved to another class, and that were repeated: {comparison.flips}\n")
    return "\n".join(lines)


def latency_table(exporter: BundleExporter, bundle: Bundle) -> str:
    """Milliseconds of a step on both sides, one thread."""
    sides: dict[str, Callable[[Arrays], Arrays]] = {
        "PyTorch, eager": lambda inputs: step(exporter.policy, exporter.ports, inputs),
        "ONNX Runtime": OnnxSide(bundle, exporter.ports),
    }
    lines = [f"{'ms per step, 1 thread':24}{'p50':>12}{'p99':>12}"]
    for name, side in sides.items():
        times = latency(side, exporter.ports)
        lines.append(f"{name:24}{np.median(times):12.3f}{_p99(times):12.3f}")
    return "\n".join(lines) + "\n"


def _p99(values: NDArray[np.float64]) -> float:
    return float(np.percentile(values, 99))
