"""How soon a robot acts after its policy node is configured, and in how much memory.

    python -m benchmarks.start [--size 12m] [--weights float32] [--rate 50] [--starts 5] [--wait 20]

Each start is a process of its own with the real policy node (real time, real ROS 2), which is given a bundle; a robot
that publishes its sensors at the control rate is there already. Shown are the seconds from the beginning of the process
until the node is made (Python, its libraries, ROS 2), from the beginning of configure until it is done and until the
first action was commanded, and what is resident then and some seconds later. The bundle is read, proved and run once
within configure.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.loop import PATIENCE, be_robot, export, join, spec_at  # noqa: E402
from benchmarks.loop_course import resident  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from benchmarks.policy_process import policy_node  # noqa: E402
from robot_dreamer.processes.ros_domain import own_domain  # noqa: E402


class Start(NamedTuple):
    """One start: seconds and bytes."""

    made: float
    configured: float
    acted: float
    resident_then: float
    resident_later: float


def begin(robot: Path, bundle: Path, sent: float, wait: float, answer: Any) -> None:
    """Be the policy node until `wait` seconds after the first action; answers with a Start.

    sent: when the process was started, in the monotonic seconds of this machine.
    """
    values = {"robot": str(robot), "bundle": str(bundle), "logdir": str(robot.parent / "robot"), "learner": ""}
    with policy_node({**values, "automatic": True}) as (node, executor):
        made = time.monotonic()
        done = node.trigger_configure()
        configured = time.monotonic()
        node.trigger_activate()
        components, deadline = node.components, configured + PATIENCE
        while components is not None and not components.controller.steps:
            if time.monotonic() > deadline:
                components = None
            executor.spin_once(timeout_sec=0.005)
        acted, then = time.monotonic(), resident()
        if components is None:
            raise RuntimeError(f"benchmark invalid: configure returned {done}, and no action came")
        while time.monotonic() < acted + wait:
            executor.spin_once(timeout_sec=0.1)
        answer.put(Start(made - sent, configured - made, acted - made, then, resident()))


def measure(size: str, weights: str, rate: float, starts: int, wait: float, folder: Path) -> list[Start]:
    """So many starts, one after the other, beside one robot."""
    spawn, spec = mp.get_context("spawn"), spec_at(rate)
    bundle, robot = folder / "first.bundle", folder / "robot.yaml"
    robot.write_text(spec.to_json())
    child = spawn.Process(target=export, args=(size, weights, spec, bundle))
    child.start()
    join([child])
    stop, answer = spawn.Event(), spawn.Queue()
    publishing = spawn.Process(target=be_robot, args=(spec, stop), daemon=True)
    publishing.start()
    found = []
    try:
        for _ in range(starts):
            child = spawn.Process(target=begin, args=(robot, bundle, time.monotonic(), wait, answer), daemon=True)
            child.start()
            found.append(answer.get(timeout=2 * PATIENCE + wait))
            join([child])
    finally:
        stop.set()
        join([publishing])
    return found


def table(starts: list[Start]) -> str:
    """In Markdown: the median, the least and the most."""
    lines = ["| | median | least | most |", "|---|---|---|---|"]
    names = {
        "process to node": ("made", 1.0, "s", 2),
        "configure": ("configured", 1.0, "s", 2),
        "configure to the first action": ("acted", 1.0, "s", 2),
        "resident at the first action": ("resident_then", 1e6, "MB", 0),
        "resident later": ("resident_later", 1e6, "MB", 0),
    }
    for name, (field, unit, word, digits) in names.items():
        values = np.array([getattr(start, field) for start in starts]) / unit
        shown = (f"{value:.{digits}f} {word}" for value in (np.median(values), values.min(), values.max()))
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    """Make all starts; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="12m", help="model size (preset)")
    parser.add_argument("--weights", default="float32", help="of the bundle: float32 or int8")
    parser.add_argument("--rate", type=float, default=50.0, help="control rate, Hz")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--wait", type=float, default=20.0, help="seconds until memory is looked at again")
    options = parser.parse_args()
    print(f"{machine('onnxruntime')}\n{options.size}, {options.weights}, {options.rate:g} Hz\n", flush=True)
    with own_domain() as domain, tempfile.TemporaryDirectory() as folder:
        os.environ |= domain
        print(table(measure(options.size, options.weights, options.rate, options.starts, options.wait, Path(folder))))


if __name__ == "__main__":
    main()
