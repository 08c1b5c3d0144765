"""Milliseconds of one policy step on this machine's CPU: eager PyTorch, ONNX Runtime naive and as on board, the floor.

    python benchmarks/onboard.py [--sizes 1m 12m 50m] [--threads 1 2] [--steps 600] [--robot cartpole]

The floor is the time that reading all weights once takes: their bytes divided by the memory bandwidth, measured in
the same run, by a matrix-vector product over as many bytes with as many threads. The sides take turns, a hundred
steps each, so that other work on the machine disturbs all alike. `ours` is `OnnxPolicy.step` with the exported
bundle, everything included that it does on a robot (noise, checks, feeding back the state); `naive` is the same with
the graph as torch's exporter gives it; `eager` is the bare module.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from export.exporter import BundleExporter  # noqa: E402
from export.trace import trace  # noqa: E402
from robot_dreamer.config import load_config  # noqa: E402
from robot_dreamer.learner.agent import Agent  # noqa: E402
from robot_dreamer.onboard.bundle import Bundle, read_bundle  # noqa: E402
from robot_dreamer.onboard.noise import Noise  # noqa: E402
from robot_dreamer.onboard.policy import OnnxPolicy  # noqa: E402
from robot_dreamer.spec import RobotSpec, load_spec  # noqa: E402

TURN, WARM_UP = 100, 20  # steps
COLUMNS = ("p50", "p99", "p99.9")


def main() -> None:
    """Measure all sizes and thread counts and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["1m", "12m", "50m"], help="model sizes (presets)")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="threads within one step")
    parser.add_argument("--steps", type=int, default=600, help="timed steps per cell; a multiple of 100")
    parser.add_argument("--robot", default="cartpole", help="robot whose observations and actions are used")
    options = parser.parse_args()
    spec = load_spec(options.robot)
    print(machine(options.robot))
    print(f"{'size':6}{'threads':>8}{'MB':>8}  {'side':8}" + "".join(f"{c:>9}" for c in COLUMNS) + f"{'/ floor':>9}")
    for size in options.sizes:
        exporter, bundle = export(size, spec)
        torch_graph = trace(exporter.policy, exporter.ports, rewrite=False)
        naive = dataclasses.replace(bundle, model=torch_graph.SerializeToString())
        megabytes = sum(p.numel() * p.element_size() for p in exporter.policy.parameters()) / 1e6
        for threads in options.threads:
            torch.set_num_threads(threads)
            sides = {
                "floor": read_weights(megabytes),
                "eager": eager_step(exporter),
                "naive": onnx_step(naive, spec, threads),
                "ours": onnx_step(bundle, spec, threads),
            }
            times = take_turns(sides, options.steps // TURN)
            floor = np.median(times["floor"])
            for name, values in times.items():
                row = np.percentile(values, [50, 99, 99.9])
                print(
                    f"{size:6}{threads:8}{megabytes:8.1f}  {name:8}"
                    + "".join(f"{x:9.3f}" for x in row)
                    + f"{row[0] / floor:9.2f}",
                    flush=True,
                )


def machine(robot: str) -> str:
    """What the numbers depend on."""
    cpu = next(
        (x.split(":")[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), "?"
    )
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    tools = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime"))
    return f"{cpu}, {platform.machine()}; {tools}; commit {commit or 'unknown'}; robot {robot}; milliseconds\n"


def export(size: str, spec: RobotSpec) -> tuple[BundleExporter, Bundle]:
    """A policy of one size with fresh weights (seed 0), and its bundle."""
    config = load_config(f"dreamer_v3:{size}", ["device=cpu"])
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    exporter = BundleExporter(agent.policy_step(), spec, config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.bundle"
        exporter.export(path, version=0, training_step=0)
        return exporter, read_bundle(path, spec)


def read_weights(megabytes: float) -> Callable[[], object]:
    """Reads that many bytes and does little else."""
    matrix, vector = torch.ones(int(megabytes * 1e6) // 4 // 1024, 1024), torch.ones(1024)
    return lambda: torch.mv(matrix, vector)


def eager_step(exporter: BundleExporter) -> Callable[[], object]:
    """The PyTorch module on ready tensors."""
    inputs = exporter.ports.zeros()

    def run() -> object:
        with torch.inference_mode():
            return exporter.ports.call(exporter.policy, inputs)

    return run


def onnx_step(bundle: Bundle, spec: RobotSpec, threads: int) -> Callable[[], object]:
    """The policy as the robot calls it."""
    policy, noise = OnnxPolicy(bundle, threads), Noise(seed=0)
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
