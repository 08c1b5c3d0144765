"""What a swapped-in policy should begin with: the old one's state, or its own, filtered again from the last seconds.

    python -m benchmarks.swap BUNDLE BUNDLE [...] [--robot cartpole] [--seeds 5] [--steps 25]

Takes the bundles of one run in order, pairwise. In each episode the first policy of a pair drives the first half, then
the second takes over in four ways: with the state carried over; with its state filtered again from the last `--steps`
observations and actions; fresh, as at an episode's beginning; and, to compare with, with the state that it has after
filtering the whole episode. Shown are its surprise (nats) in its first 25 steps, how far its first action is from that
of the last way, and the return of the second half. Actions are the mean ones, latents are sampled with equal noise.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.intervals import student
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.noise import NoiseSource
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.record import Arrays
from robot_dreamer.spec import RobotSpec, load_spec
from sim.robot import SimRobot
from sim.sensors import observe

WAYS = ("carried", "filtered again", "fresh", "whole episode")


@dataclass
class Half:
    """The second half of an episode."""

    surprise: NDArray[np.float64]
    action: NDArray[np.float64]
    total: float


def play(spec: RobotSpec, robot: SimRobot, old: OnnxPolicy, new: OnnxPolicy, way: str, seed: int, steps: int) -> Half:
    """One episode in which `new` takes over from `old` half-way."""
    swap = spec.episode.max_steps // 2
    noise, also = NoiseSource(seed, deterministic=True), NoiseSource(seed + 1, deterministic=True)
    sensors = robot.reset(seed)
    action: Arrays = {a.name: a.zero() for a in spec.actions}
    past: list[tuple[Arrays, Arrays]] = []
    old.reset()
    new.reset()
    surprise, total, begun = [], 0.0, np.zeros(0)
    for t in range(spec.episode.max_steps):
        seen = observe(spec, sensors)
        if t < swap:
            past.append((seen, action))
            output = old.step(seen, action, t == 0, noise)
            if way == "whole episode":
                new.step(seen, action, t == 0, also)
        else:
            if t == swap and way == "carried":
                new.state = old.state
            if t == swap and way == "filtered again":
                for i, (then, before) in enumerate(past[-steps:]):
                    new.step(then, before, i == 0, also)
            output = new.step(seen, action, t == swap and way == "fresh", noise)
            surprise.append(output.surprise)
        action = {a.name: np.clip(output.action[a.name], -1, 1).astype(a.dtype) for a in spec.actions}
        if t == swap:
            begun = np.concatenate([np.ravel(x) for x in action.values()])
        sensors = robot.step({a.name: a.to_command(action[a.name]) for a in spec.actions})
        total += sensors.reward if t >= swap else 0.0
        if sensors.terminal:
            break
    return Half(np.asarray(surprise), np.asarray(begun, np.float64), total)


def main() -> None:
    """Play all pairs, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path, help="of one run, oldest first")
    parser.add_argument("--robot", default="cartpole")
    parser.add_argument("--seeds", type=int, default=5, help="episodes for each pair and way")
    parser.add_argument("--steps", type=int, default=25, help="that are filtered again")
    options = parser.parse_args()
    spec = load_spec(options.robot)
    policies = [OnnxPolicy(read_bundle(path, spec)) for path in options.bundles]
    halves: dict[str, list[Half]] = defaultdict(list)
    robot = SimRobot(spec, 0)
    for old, new in zip(policies, policies[1:], strict=False):
        for seed in range(options.seeds):
            for way in WAYS:
                halves[way].append(play(spec, robot, old, new, way, seed, options.steps))
    count = len(halves[WAYS[0]])
    versions = ", ".join(str(p.version) for p in policies)
    print(f"{spec.name}: bundles {versions}; {count} episodes each way; 95 % interval of the mean return\n")
    print(f"{'state':16}{'surprise 1':>11}{'2 to 5':>9}{'6 to 25':>9}{'action':>9}{'return':>9}{'interval':>20}")
    for way in WAYS:
        found = halves[way]
        after = np.mean([[h.surprise[0], h.surprise[1:5].mean(), h.surprise[5:25].mean()] for h in found], 0)
        pairs = zip(found, halves["whole episode"], strict=True)
        away = np.mean([np.abs(h.action - reference.action).mean() for h, reference in pairs])
        returns = [h.total for h in found]
        low, high = student(returns) or (np.nan, np.nan)
        numbers = f"{after[0]:11.3f}{after[1]:9.3f}{after[2]:9.3f}{away:9.4f}{np.mean(returns):9.1f}"
        print(f"{way:16}{numbers}{f'{low:.1f} to {high:.1f}':>20}")


if __name__ == "__main__":
    main()
