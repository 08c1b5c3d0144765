"""Experiments of bsuite are learned by the command that a user types, from nothing, far better than chance."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("bsuite")
from sim.environments import make_environment

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.learn, pytest.mark.timeout(1800)]


class Gate(NamedTuple):
    """Mean return of random actions is below `chance`, that of the last `episodes` above `passed`."""

    steps: int
    episodes: int
    chance: float
    passed: float


GATES = {
    "catch/0": Gate(5000, 100, -0.4, 0.7),
    "cartpole/0": Gate(6000, 5, 100, 400),
    "memory_len/3": Gate(4000, 200, 0.2, 0.8),
}


def by_chance(experiment: str) -> float:
    """Mean return of 200 episodes of random actions."""
    environment, random, total = make_environment(f"bsuite:{experiment}", seed=0), np.random.default_rng(0), 0.0
    choices = len(environment.spec.actions[0].values)
    for _ in range(200):
        step = environment.reset()
        while not step.is_last:
            step = environment.step({"action": random.integers(0, choices, 1).astype(float)})
            total += step.reward
    return total / 200


@pytest.mark.parametrize("experiment", GATES)
def test_an_experiment_is_learned(experiment: str, tmp_path: Path) -> None:
    gate = GATES[experiment]
    assert by_chance(experiment) < gate.chance
    command = [sys.executable, "-m", "robot_dreamer.cli", "train", "--env", f"bsuite:{experiment}"]
    command += ["--preset", "cpu_small", "--set", "train_ratio=64", "--steps", str(gate.steps), "--seed", "0"]
    done = subprocess.run(
        [*command, "--logdir", str(tmp_path)], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    returns = [json.loads(line)["return"] for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert np.mean(returns[-gate.episodes :]) > gate.passed
