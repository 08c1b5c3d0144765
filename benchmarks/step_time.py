"""Time of one full update, sides by turns in one run: ours eager, compiled, in bfloat16, as a CUDA graph; TorchRL's.

    python benchmarks/step_time.py [--presets dreamer_v3:1m dreamer_v3:12m cpu_small] [--threads 2] [--rounds 10]
    python benchmarks/step_time.py --parts         where the time of an eager update on a CPU goes: see step_parts.py

An update of ours goes from sampling the replay to new parameters and to latents written back. TorchRL's (where
torchrl 0.14.1 is installed) starts from a batch that is ready, in its favour. Sizes are those of the preset, with 24
numbers observed and 6 actions, as of the walker. The sides take turns, one update each, so that other work on the
machine disturbs all alike; `ratio` is the median over the rounds of a side's time against the first side's in the same
round, by the clock and by the processor time of this process, which says more on a busy CPU. `ops` are the operators
that PyTorch calls in one update, inner ones included (on a GPU: kernels), `MB` is the peak of what an update allocates.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from benchmarks.step_parts import parts_table  # noqa: E402
from robot_dreamer.config import Config, load_config  # noqa: E402
from robot_dreamer.learner.agent import Agent  # noqa: E402
from robot_dreamer.learner.batch import batch_to  # noqa: E402
from robot_dreamer.learner.memory import keep_freed_memory  # noqa: E402
from robot_dreamer.learner.replay import Replay  # noqa: E402
from robot_dreamer.learner.write_back import WriteBack  # noqa: E402
from robot_dreamer.record import StepRecord  # noqa: E402
from robot_dreamer.spec import RobotSpec, parse_spec  # noqa: E402
from robot_dreamer.world_model.latent import stored_zeros  # noqa: E402
from robot_dreamer.world_model.rssm import RSSM  # noqa: E402

HEADS, ACTIONS = (14, 1, 9), 6  # observations of the walker, its actions
SIDES: dict[str, list[str]] = {"eager": [], "compiled": ["compile=true"], "bfloat16": ["precision=bfloat16"]}
SIDES["bf16+compiled"] = [*SIDES["bfloat16"], *SIDES["compiled"]]
if torch.cuda.is_available():
    SIDES["CUDA graph"] = ["cuda_graph=true"]
WARM_UP = 3  # updates of each side before the first round
Update = Callable[[], object]


def main() -> None:
    """Measure all presets and print one table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["dreamer_v3:1m", "dreamer_v3:12m", "cpu_small"])
    parser.add_argument("--sides", nargs="+", choices=[*SIDES, "torchrl"], default=[*SIDES, "torchrl"])
    parser.add_argument("--threads", type=int, default=2, help="threads within one update, on a CPU")
    parser.add_argument("--rounds", type=int, default=10, help="timed updates of each side")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--parts", action="store_true", help="each part of ours beside its floor; on a CPU, eager")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    for preset in options.presets:
        base = load_config(preset, [f"device={options.device}"])
        updates = {}
        print(f"\n{preset}: batch {base.batch_size}x{base.batch_length}, horizon {base.behavior.horizon}", flush=True)
        if options.parts:
            agent, update = our_agent(load_config(preset, ["device=cpu"]))
            for _ in range(WARM_UP):
                update()
            print(f"{machine('torch')}; {options.threads} threads")
            print(parts_table(update, agent, options.rounds), flush=True)
            continue
        for side in options.sides:
            start = time.perf_counter()
            try:
                update, what = build(side, preset, options.device)
            except (ImportError, ValueError) as error:  # no such package; no CUDA graph on a CPU
                print(f"{side}: left out: {error}")
                continue
            for _ in range(WARM_UP):
                update()
            print(f"{side}: {what}; ready after {time.perf_counter() - start:.0f} s", flush=True)
            updates[side] = update
        gpu = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
        print(f"{machine('torch')}; {options.threads} threads{gpu}")
        print(table(updates, options.rounds), flush=True)


def build(side: str, preset: str, device: str) -> tuple[Update, str]:
    """One update of a side, and what it is."""
    if side != "torchrl":
        agent, update = our_agent(load_config(preset, [f"device={device}", *SIDES[side]]))
        return update, f"{agent.trained_parameters:,} parameters"
    from benchmarks.torchrl_learner import torchrl_update

    config = load_config(preset, [f"device={device}"])
    place = torch.device("cuda" if torch.cuda.is_available() and device != "cpu" else "cpu")
    return torchrl_update(config, HEADS, ACTIONS, place)


def our_agent(config: Config, pictures: bool = False) -> tuple[Agent, Update]:
    """An agent, and its update from a sample of the replay to new parameters and stored latents; see `robot`."""
    spec = robot(pictures)
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    rssm = agent.parts.world.rssm
    replay = filled_replay(spec, config, rssm)

    def update() -> None:
        batch, window = replay.sample(config.batch_size)
        WriteBack(window, agent.update(batch_to(batch, agent.device)), rssm.latent).finish(replay)

    return agent, update


def filled_replay(spec: RobotSpec, config: Config, rssm: RSSM) -> Replay:
    """Of random rows, whose latents are zeros."""
    replay = Replay(spec, 4096, config.batch_length + 1, rssm.deter, rssm.latent)
    deter, stoch = np.zeros(rssm.deter, np.float32), stored_zeros(rssm.latent)
    for row in rows(spec, np.random.default_rng(0)):
        replay.add("r/b", row, deter, stoch)
    return replay


def robot(pictures: bool = False) -> RobotSpec:
    """24 numbers in three observations, or a picture of 64 x 64 in colour; six actions."""

    def joints(*names: str) -> dict[str, object]:
        return {"topic": "/x", "type": "sensor_msgs/msg/JointState", "field": "position", "names": names}

    seen: list[dict[str, object]] = [
        {"name": f"o{i}", "shape": [size], "source": joints(*(f"o{i}_{j}" for j in range(size)))}
        for i, size in enumerate(HEADS)
    ]
    if pictures:
        camera = {"topic": "/eye", "type": "sensor_msgs/msg/Image", "field": "data"}
        seen = [{"name": "eye", "shape": [64, 64, 3], "dtype": "uint8", "source": camera}]
    contract = {
        "name": "benchmark",
        "rate": 25,
        "episode": {"max_steps": 1000},
        "observations": seen,
        "actions": [{"name": "action", "command": {"topic": "/c"}, "low": [-1.0] * ACTIONS, "high": [1.0] * ACTIONS}],
        "reward": joints("reward"),
    }
    return parse_spec(json.dumps(contract))


def rows(spec: RobotSpec, rng: np.random.Generator) -> Iterator[StepRecord]:
    """Two thousand random rows, episodes of 500."""
    for i in range(2000):
        action = {"action": rng.uniform(-1, 1, ACTIONS).astype(np.float32)}
        observation = {
            o.name: rng.integers(0, 256, o.shape, np.uint8)
            if o.dtype == "uint8"
            else rng.standard_normal(o.shape).astype(np.float32)
            for o in spec.observations
        }
        first, last = i % 500 == 0, i % 500 == 499
        yield StepRecord(
            "r", "b", i, i // 500, observation, action, action, rng.standard_normal(), first, last, False, i, i, 0
        )


def table(updates: dict[str, Update], rounds: int) -> str:
    """Interleaved times of all sides as text."""
    wall, cpu = take_turns(updates, rounds)
    first = next(iter(updates), "")
    lines = [f"{'side':16}{'ms median':>11}{'ms least':>10}{'ratio':>8}{'CPU ms':>9}{'ratio':>8}{'MB':>8}{'ops':>8}"]
    for name, update in updates.items():
        megabytes, operators = resources(update)
        lines.append(
            f"{name:16}{np.median(wall[name]):11.1f}{wall[name].min():10.1f}"
            f"{np.median(wall[name] / wall[first]):8.2f}{np.median(cpu[name]):9.1f}"
            f"{np.median(cpu[name] / cpu[first]):8.2f}{megabytes:8.0f}{operators:8}"
        )
    return "\n".join(lines)


def take_turns(
    updates: dict[str, Update], rounds: int
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Milliseconds of each update of each side, by the clock and of this process on all its cores."""
    wall = {name: np.zeros(rounds) for name in updates}
    cpu = {name: np.zeros(rounds) for name in updates}
    for i in range(rounds):
        for name, update in updates.items():
            wait()
            start, used = time.perf_counter(), time.process_time()
            update()
            wait()
            wall[name][i] = 1e3 * (time.perf_counter() - start)
            cpu[name][i] = 1e3 * (time.process_time() - used)
    return wall, cpu


def wait() -> None:
    """Until a GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def resources(update: Update) -> tuple[float, int]:
    """Peak megabytes that one update allocates, and the operators (on a GPU: kernels) it launches."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        update()
        wait()
    held, peak, operators, kernels = 0, 0, 0, 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
        elif event.device_type() == torch.autograd.DeviceType.CUDA:
            kernels += 1
        elif event.name().startswith("aten::"):
            operators += 1
    return peak / 1e6, kernels or operators


if __name__ == "__main__":
    main()
