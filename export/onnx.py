"""`python -m export.onnx`: a bundle from a checkpoint, refused unless ONNX Runtime computes what PyTorch does."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from export.compare import compare
from export.exporter import BundleExporter
from export.ports import Ports
from export.rollout import RandomInputs, RecordedInputs
from export.tables import drift_table, latency_table
from export.weights import FORMATS
from robot_dreamer.bounds import LARGEST
from robot_dreamer.config import Config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.checkpoint import CheckpointError, below, load_checkpoint
from robot_dreamer.learner.checkpoint_meta import CheckpointMeta
from robot_dreamer.learner.ema import EMA, load_averaged
from robot_dreamer.learner.recent import RECENT
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.manifest import BundleError
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.option_types import number, parsed, whole_number
from robot_dreamer.spec import RobotSpec, SpecError, load_spec, require_same_spec


class ExportRefused(RuntimeError):
    """PyTorch and ONNX Runtime differ by more than the tolerance."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if the bundle was written, 1 if it is wrong, 2 if what it is to be made from is."""
    parser = argparse.ArgumentParser(prog="python -m export.onnx", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="log directory of a run, or one checkpoint")
    parser.add_argument("--output", type=Path, required=True, help="bundle to write")
    parser.add_argument(
        "--steps", type=whole_number(1), default=500, help="length of the compared roll-out (default: %(default)s)"
    )
    parser.add_argument(
        "--weights", choices=FORMATS, default="float32", help="int8: for CPUs; float16: for GPUs (default: %(default)s)"
    )
    tolerances = ", ".join(f"{x.tolerance:g} for {x.name}" for x in FORMATS.values())
    parser.add_argument("--tolerance", type=number(0.0), help=f"largest allowed relative drift (default: {tolerances})")
    parser.add_argument("--robot", help="robot that the checkpoint must be for")
    parser.add_argument(
        "--version",
        type=whole_number(0, LARGEST),
        default=0,
        help="of the bundle; a robot replaces it by a later one of the same run (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole_number(0, 2**31 - 1), default=0, help="of observations and noise (default: %(default)s)"
    )
    options = parsed(parser, arguments)
    if options.output.is_dir() or not options.output.parent.is_dir():
        parser.error(f"argument --output: expected a file in a folder that exists, found {str(options.output)!r}")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on there is something to tidy up
    try:
        tensors, meta = load_checkpoint(options.checkpoint)
        spec, config, agent = rebuild_agent(options.checkpoint, tensors, meta, options.robot)
        policy = agent.policy_step()
        if averaged := below(tensors, EMA):
            load_averaged(policy, averaged)
            print("parameters: the exponential moving average, as in the run's bundles (bundle_ema)")
        exporter = BundleExporter(policy, spec, config, meta.lineage, options.weights)
        stream = choose_inputs(exporter.ports, tensors, options.seed)
        export_checked(exporter, spec, meta.training_step, stream, options)
    except KeyboardInterrupt:
        return 130
    except (BundleError, ExportRefused) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (CheckpointError, SpecError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def rebuild_agent(
    checkpoint: Path, tensors: Mapping[str, torch.Tensor], meta: CheckpointMeta, robot: str | None
) -> tuple[RobotSpec, Config, Agent]:
    """An agent on the CPU from a loaded checkpoint alone, however that was trained.

    Raises CheckpointError, SpecError or ValueError if it is broken, or of another robot than `robot`.
    """
    spec = meta.spec
    if robot:
        require_same_spec(load_spec(robot), spec, f"checkpoint {checkpoint}")
    config = meta.configuration().with_run(device="cpu", compile=False, cuda_graph=False)  # it makes no update any more
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    agent.load_training_state(below(tensors, "agent/"))
    return spec, config, agent


def choose_inputs(ports: Ports, tensors: Mapping[str, torch.Tensor], seed: int) -> RandomInputs:
    """What the robot saw last, where the checkpoint has it; random observations otherwise."""
    recent = below(tensors, RECENT)
    if not recent:
        return RandomInputs(ports, seed, starts=frozenset({0}))
    observations, actions = (
        {name: value.numpy() for name, value in below(recent, prefix).items()} for prefix in ("observation/", "action/")
    )
    return RecordedInputs(ports, seed, observations, actions, recent["is_first"].numpy())


def export_checked(
    exporter: BundleExporter, spec: RobotSpec, training_step: int, stream: RandomInputs, options: argparse.Namespace
) -> None:
    """Write the bundle beside `--output`, compare, print both tables, and move it there only if all is well.

    Raises ExportRefused or BundleError; the output is then as it was before.
    """
    output: Path = options.output
    weights = exporter.format
    tolerance = weights.tolerance if options.tolerance is None else options.tolerance
    candidate = output.with_name(f".{output.name}.candidate")
    try:
        exporter.export(candidate, options.version, training_step)
        bundle = read_bundle(candidate, spec)
        OnnxPolicy(bundle).verify()
        comparison = compare(exporter.policy, exporter.ports, bundle, options.steps, stream, weights.tie)
        megabytes = len(bundle.model) / 1e6
        print(f"{bundle.manifest.algorithm} for robot {spec.name}, {training_step} updates, ", end="")
        print(f"{weights.name} weights, {megabytes:.1f} MB\n")
        bad = comparison.above(tolerance, weights.exact)
        print(drift_table(comparison, options.steps, tolerance, bad))
        print(latency_table(exporter, bundle))
        if bad:
            found = f"PyTorch and ONNX Runtime differ by more than {tolerance:g} in {', '.join(bad)}"
            raise ExportRefused(f"{found}: {output} was not written")
        candidate.replace(output)
        run = f"run {bundle.manifest.lineage}" if bundle.manifest.lineage else "an unknown run"
        print(f"written: {output} (version {options.version} of {run}, recording verified)")
    finally:
        candidate.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
