"""Milliseconds of one policy step on this machine's CPU: PyTorch, ONNX Runtime naive and as on board, and the floor.

    python benchmarks/onboard.py [--robots cartpole cartpole_camera] [--sizes 1m 12m 50m] [--threads 1 2] [--steps 1000]

First each generation's small preset (`:cpu`) on its robot, as on board with one thread, beside half a control period,
which is what a step may take (`--sizes` with nothing behind it: this table only). Then DreamerV3 by size:

  floor    what the machine allows for float32: the multiply-adds of the convolutions at their peak rate (a product of
           large matrices), and after them, for all the rest, the larger of its weights' bytes over the memory bandwidth
           (the largest number of 200 MB, found with as many threads) and its multiply-adds at that rate; both measured
           in the same run. Weights that stay in a cache can be read faster.
  eager    the bare PyTorch module
  compile  the same through torch.compile
  naive    OnnxPolicy with the graph as torch's exporter gives it
  ours     OnnxPolicy.step with the exported bundle: everything included that a robot does (noise, checks, state)
  int8     the same with int8 weights

The sides take turns, so that other work on the machine disturbs all alike.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.family import FAMILY, Member  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from export.exporter import BundleExporter  # noqa: E402
from export.trace import trace  # noqa: E402
from robot_dreamer.config import Config, known_presets, load_config  # noqa: E402
from robot_dreamer.learner.agent import Agent  # noqa: E402
from robot_dreamer.onboard.bundle import Bundle, read_bundle  # noqa: E402
from robot_dreamer.onboard.noise import NoiseSource  # noqa: E402
from robot_dreamer.onboard.policy import OnnxPolicy  # noqa: E402
from robot_dreamer.option_types import whole_number  # noqa: E402
from robot_dreamer.spec import RobotSpec, load_spec  # noqa: E402

TURN, WARM_UP = 100, 20  # steps
COLUMNS = ("p50", "p99", "p99.9")
READ = 200  # megabytes that measure the memory bandwidth, more than caches hold
PEAK = 768  # side of the matrices whose product measures the peak rate


def main() -> None:
    """Measure all sizes and thread counts and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", nargs="*", choices=known_presets(), default=["1m", "12m", "50m"], help="model sizes (presets)"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="threads within one step")
    parser.add_argument("--steps", type=whole_number(TURN), default=1000, help="timed steps per cell")
    parser.add_argument("--robots", nargs="+", default=["cartpole", "cartpole_camera"], help="state, and 64x64 image")
    options = parser.parse_args()
    print(f"{machine('torch', 'onnxruntime')}; milliseconds\n")
    print(f"{'preset':20}{'robot':16}{'half a period':>14}" + "".join(f"{c:>9}" for c in COLUMNS) + "  fits")
    for member in FAMILY:
        spec = load_spec(member.robot)
        config = load_config(member.preset, ["device=cpu"])
        sides = {"ours": onnx_step(export(config, spec)[1], spec, 1)}
        print(budget_line(member, spec.rate, take_turns(sides, options.steps // TURN)["ours"]), flush=True)
    if not options.sizes:
        return
    header = f"\n{'robot':16}{'size':6}{'threads':>8}{'MB':>8}  {'side':8}" + "".join(f"{c:>9}" for c in COLUMNS)
    print(header + f"{'/ floor':>9}{'/ ours':>9}")
    for robot in options.robots:
        for size in options.sizes:
            compare(robot, size, options.threads, options.steps)


def compare(robot: str, size: str, thread_counts: list[int], steps: int) -> None:
    """The rows of one robot and size."""
    spec, config = load_spec(robot), load_config(f"dreamer_v3:{size}", ["device=cpu"])
    exporter, bundle = export(config, spec)
    _, small = export(config, spec, "int8")
    naive = dataclasses.replace(bundle, model=trace(exporter.policy, exporter.ports, rewrite=False).SerializeToString())
    parameters = [*exporter.policy.parameters()]
    megabytes = sum(p.numel() * p.element_size() for p in parameters) / 1e6
    kernels = sum(p.numel() * p.element_size() for p in parameters if p.dim() == 4) / 1e6  # of convolutions
    for threads in thread_counts:
        torch.set_num_threads(threads)
        torch.compiler.reset()
        eager = eager_step(exporter, exporter.policy)
        sides = {
            "reading": read(),
            "peak": multiply(),
            "eager": eager,
            "compile": eager_step(exporter, torch.compile(exporter.policy)),
            "naive": onnx_step(naive, spec, threads),
            "ours": onnx_step(bundle, spec, threads),
            "int8": onnx_step(small, spec, threads),
        }
        times = take_turns(sides, steps // TURN)
        reading, peak = times.pop("reading") * (megabytes - kernels) / READ, times.pop("peak")
        convolving, other = multiply_adds(eager)
        rest = max(reading, peak * other / PEAK**3, key=lambda x: float(np.median(x)))
        times = {"floor": peak * convolving / PEAK**3 + rest} | times
        floor, ours = np.median(times["floor"]), np.median(times["ours"])
        for name, values in times.items():
            row = np.percentile(values, [50, 99, 99.9])
            print(
                f"{robot:16}{size:6}{threads:8}{megabytes:8.1f}  {name:8}"
                + "".join(f"{x:9.3f}" for x in row)
                + f"{row[0] / floor:9.2f}{row[0] / ours:9.2f}",
                flush=True,
            )


def budget_line(member: Member, rate: float, times: NDArray[np.float64]) -> str:
    """The row of one generation: milliseconds of its steps beside half a control period at `rate` Hz.

    It fits if 99 of 100 steps do.
    """
    half, row = 500 / rate, np.percentile(times, [50, 99, 99.9])
    numbers = f"{half:14.1f}" + "".join(f"{x:9.3f}" for x in row)
    return f"{member.preset:20}{member.robot:16}{numbers}  {'yes' if row[1] <= half else 'NO'}"


def export(config: Config, spec: RobotSpec, weights: str = "float32") -> tuple[BundleExporter, Bundle]:
    """A policy with fresh weights, and its bundle."""
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    exporter = BundleExporter(agent.policy_step(), spec, config, weights=weights)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.bundle"
        exporter.export(path, version=0, training_step=0)
        return exporter, read_bundle(path, spec)


def read() -> Callable[[], object]:
    """Reads READ megabytes and does little else."""
    numbers = torch.ones(READ * 1_000_000 // 4)
    return lambda: numbers.amax()


def multiply() -> Callable[[], object]:
    """PEAK^3 multiply-adds at the highest rate."""
    one, other = torch.ones(PEAK, PEAK), torch.ones(PEAK, PEAK)
    return lambda: torch.mm(one, other)


def multiply_adds(step: Callable[[], object]) -> tuple[int, int]:
    """Of one eager step: those of its convolutions, and the others."""
    with FlopCounterMode(display=False) as counter:
        step()
    convolving = int(counter.get_flop_counts()["Global"].get(torch.ops.aten.convolution, 0)) // 2
    return convolving, int(counter.get_total_flops()) // 2 - convolving


def eager_step(exporter: BundleExporter, policy: Any) -> Callable[[], object]:
    """The PyTorch module on ready tensors."""
    inputs = exporter.ports.zeros()

    def run() -> object:
        with torch.inference_mode():
            return exporter.ports.call(policy, inputs)

    return run


def onnx_step(bundle: Bundle, spec: RobotSpec, threads: int) -> Callable[[], object]:
    """The policy as the robot calls it."""
    policy, noise = OnnxPolicy(bundle, threads), NoiseSource(seed=0)
    observation = {o.name: np.zeros(o.shape, o.dtype) for o in spec.observations}
    previous = {a.name: a.zero() for a in spec.actions}
    return lambda: policy.step(observation, previous, False, noise)


def take_turns(sides: dict[str, Callable[[], object]], turns: int) -> dict[str, NDArray[np.float64]]:
    """Milliseconds of each step of each side."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, run in sides.items():
            for i in range(WARM_UP + TURN):
                start = time.perf_counter()
                run()
                if i >= WARM_UP:
                    times[name].append(1e3 * (time.perf_counter() - start))
    return {name: np.asarray(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
