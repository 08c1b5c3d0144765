"""Several processes that train together: time of an update and memory of each process, for the same whole batch.

    python benchmarks/team.py [--presets dreamer_v3:12m dreamer_v3:50m] [--processes 1 2 4] [--updates 3]

torchrun starts the processes on this machine, with one thread each. An update goes from a sample of the leader's replay
to new parameters in all processes and latents written back. Memory is the peak of what a process holds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from benchmarks.step_time import filled_replay, robot  # noqa: E402
from robot_dreamer.config import load_config  # noqa: E402
from robot_dreamer.learner.agent import Agent  # noqa: E402
from robot_dreamer.learner.memory import keep_freed_memory  # noqa: E402
from robot_dreamer.learner.team import Team  # noqa: E402
from robot_dreamer.learner.write_back import WriteBack  # noqa: E402

MARK = "team: "  # before what a process says to the benchmark
PATIENCE = 1800.0  # seconds


def main() -> None:
    """Start all teams, one after the other, and print a table; or be a process of one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["dreamer_v3:12m", "dreamer_v3:50m"])
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--updates", type=int, default=3, help="timed ones, after one that is not")
    parser.add_argument("--member", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.member:
        be_member(options.presets[0], options.updates)
        return
    print(machine("torch"))
    print(
        f"{'preset':18}{'processes':>10}{'s an update':>13}{'least':>8}{'ratio':>8}{'MB leader':>11}{'MB others':>11}"
    )
    for preset in options.presets:
        alone = 0.0
        for processes in options.processes:
            seconds, megabytes = measure(preset, processes, options.updates)
            median = float(np.median(seconds))
            alone = alone or median
            others = f"{np.mean(megabytes[1:]):.0f}" if processes > 1 else "–"
            row = f"{preset:18}{processes:10}{median:13.2f}{min(seconds):8.2f}{median / alone:8.2f}"
            print(f"{row}{megabytes[0]:11.0f}{others:>11}", flush=True)


def measure(preset: str, processes: int, updates: int) -> tuple[list[float], list[float]]:
    """Seconds of each update, and peak megabytes of each process, the leader first."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += [str(Path(__file__)), "--member", "--presets", preset, "--updates", str(updates)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    said = [json.loads(line.partition(MARK)[2]) for line in done.stdout.splitlines() if MARK in line]
    said.sort(key=lambda one: one["rank"])
    return said[0]["seconds"], [one["megabytes"] for one in said]


def be_member(preset: str, updates: int) -> None:
    """Train with the team, or alone where torchrun started one process; says what it took."""
    torch.set_num_threads(1)
    keep_freed_memory()
    config, spec = load_config(preset, ["device=cpu"]), robot()
    team = Team.join(torch.device("cpu"))
    agent = Agent(spec.observation_space(), spec.action_space(), config, team)
    rssm = agent.parts.world.rssm
    replay = filled_replay(spec, config, rssm) if team is None or team.leads else None
    agent.join_team()
    part = team.empty_part(spec, config, rssm) if team else None
    seconds = []
    for _ in range(1 + updates):
        start = time.perf_counter()
        batch, window = replay.sample(config.batch_size) if replay else (None, None)
        if team and part:
            result = agent.update(team.deal(batch, part))
            assert result.latents is not None
            result = result._replace(latents=team.collect(result.latents))
        else:
            assert batch is not None
            result = agent.update(batch)
        if replay and window:
            WriteBack(window, result, rssm.latent).finish(replay)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    said = {"rank": team.rank if team else 0, "seconds": seconds[1:], "megabytes": peak}
    sys.stdout.write(f"{MARK}{json.dumps(said)}\n")  # at once: torchrun's processes share a pipe and buffer nothing
    sys.stdout.flush()
    Team.leave()


if __name__ == "__main__":
    main()
