"""Log directories of runs that never were, for tests of what is shown of runs. Portraits are those of real agents."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robot_dreamer.config import load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.hopes import value_along
from robot_dreamer.learner.portrait import portrait, summary
from robot_dreamer.run_status import RunStatus
from robot_dreamer.spec import RobotSpec, load_spec, parse_spec
from tests.agents import random_batch

GAME = """
name: game
rate: 20.0
observations:
  - {name: screen, shape: [64, 64, 3], dtype: uint8,
     source: {topic: camera, type: sensor_msgs/msg/Image, field: data}}
  - {name: gyro, shape: [3], unit: rad/s, source: {topic: imu, type: sensor_msgs/msg/Imu, field: angular_velocity}}
actions:
  - {name: button, values: [[0.0], [1.0], [2.0]], command: {topic: button}}
reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}
episode: {max_steps: 40}
"""
SMALL_SEARCH = ["planner.candidates=20", "planner.elites=5", "planner.iterations=2"]
RUNS: dict[str, tuple[RobotSpec, str, list[str]]] = {
    "cartpole, DreamerV3": (load_spec("cartpole"), "nano", []),
    "camera, PlaNet": (load_spec("cartpole_camera"), "planet", [*SMALL_SEARCH, "model.depth=2", "model.deter=16"]),
    "A1, DayDreamer": (load_spec("a1"), "daydreamer:cpu", []),
    "game, Dreamer V2": (parse_spec(GAME), "dreamer_v2:cpu", []),
    "cartpole, Dreamer V1": (load_spec("cartpole"), "dreamer_v1:cpu", []),
    "game, World Models": (parse_spec(GAME), "world_models:cpu", ["model.deter=32", "model.depth=2"]),
}
"""Name: robot, preset, overrides. Every kind of robot and every generation once."""
EPISODE = 40


def make_run(logdir: Path, name: str = "cartpole, DreamerV3", episodes: int = 12) -> Path:
    """Write all files of a finished run that the report reads."""
    spec, preset, overrides = RUNS[name]
    config = load_config(preset, ["device=cpu", *overrides])
    logdir.mkdir(parents=True, exist_ok=True)
    run = {"spec": json.loads(spec.to_json()), "config": config.to_dict(), "code": "0", "machine": "a test"}
    (logdir / "run.json").write_text(json.dumps(run))
    write_lines(logdir / "commands.jsonl", [{"time": 0.0, "command": f"robot-dreamer train --preset {preset}"}])
    found = [
        {"env_step": EPISODE * (i + 1), "return": 10.0 + i, "length": EPISODE, "policy_version": i - 1, "time": i}
        for i in range(episodes)
    ]
    write_lines(logdir / "episodes.jsonl", found)
    arrays = draw(spec, Agent(spec.observation_space(), spec.action_space(), config))
    (logdir / "portraits").mkdir(exist_ok=True)
    for update in (1, 50):
        counts = {"update": np.array(update), "env_step": np.array(10 * update)}
        np.savez(logdir / "portraits" / f"portrait-{update:08d}.npz", **arrays, **counts)
    numbers = {"kl": 2.0, "loss/reconstruction/x": 0.1, "optimizer/gradient_norm": 3.0, **summary(arrays)}
    numbers |= {"entropy/prior": 4.0, "entropy/posterior": 3.0, "loss/reward": 0.2, "policy/entropy/x": 1.0}
    lines = [{"env_step": 40 * i, "update": i, "time": float(i), **scaled(numbers, i)} for i in range(1, 12)]
    write_lines(logdir / "metrics.jsonl", lines)
    write_lines(logdir / "robots.jsonl", [{"env_step": i, "time": float(i), "robots": [robot(i)]} for i in range(9)])
    (logdir / "status.json").write_bytes(msgspec.json.encode(status(episodes)))
    evaluation = {"evaluation": {"mean": 25.0, "interval": [24.0, 26.0]}, "random": {"mean": 9.0, "interval": None}}
    (logdir / "evaluation.json").write_text(json.dumps(evaluation))
    return logdir


def draw(spec: RobotSpec, agent: Agent) -> dict[str, Any]:
    """A portrait of an agent on random experience, with an episode."""
    batch = random_batch(agent, 4, 30)
    for flags in (batch.is_first, batch.is_last, batch.is_terminal):
        flags[:] = False
    episode = random_batch(agent, 1, EPISODE, seed=1)
    return {**portrait(agent, batch), **value_along(agent, episode)}


def scaled(numbers: dict[str, float], i: int) -> dict[str, float]:
    return {name: value * math.exp(-0.1 * i) for name, value in numbers.items()}


def robot(i: int) -> dict[str, Any]:
    """What the link knows of one robot."""
    figures = {"loop_misses": i // 4, "loop_ticks": 100 * i, "bundle_version": i, "bundle_age_s": 3.0, "swaps": i}
    rest = {"connected": True, "received": 100 * i, "duplicates": 1, "missing": 0, "round_trip": 0.002, "spooled": 3}
    return {
        "robot": "left",
        "last_seen": 0.1,
        "refused": "",
        **rest,
        "rejected": {},
        "dropped": {},
        "bad_messages": {},
        "figures": figures,
    }


def status(episodes: int, phase: str = "finished") -> RunStatus:
    """As the learner writes it."""
    return RunStatus(
        time=1.7e9,
        monotonic=100.0,
        phase=phase,
        env_steps=EPISODE * episodes,
        episodes=episodes,
        last_return=20.0,
        mean_return_10=15.0,
        updates=50,
        updates_per_s=5.0,
        env_steps_per_s=50.0,
        replay_size=EPISODE * episodes,
        replay_capacity=1000,
        bundle_version=10,
        train_ratio=512.0,
        rows_replayed=50 * 1024,
        elapsed_s=100.0,
        budget_s=100.0,
        budget_steps=0,
        budget_epochs=0.0,
        losses={"total": 1.0},
        skipped_updates=0,
        robots=[robot(8)],
        link={},
    )


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
