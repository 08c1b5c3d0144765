"""What the portrait beside training costs: its time beside that of an update, by turns, for each generation.

    python benchmarks/portrait.py [--rounds 3] [PRESET ...]

A portrait is drawn as in a run: newest windows filtered and dreamed on, values along the newest episode, the file
written. The share is that of a run at the default period, `portrait_every`; a run draws more rarely where it would
be above 2 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import machine  # noqa: E402
from benchmarks.synthetic import synthetic_row  # noqa: E402
from robot_dreamer.config import load_config  # noqa: E402
from robot_dreamer.learner.agent import Agent  # noqa: E402
from robot_dreamer.learner.batch import batch_to  # noqa: E402
from robot_dreamer.learner.gallery import SHARE, Gallery  # noqa: E402
from robot_dreamer.learner.replay import Replay  # noqa: E402
from robot_dreamer.option_types import whole_number  # noqa: E402
from robot_dreamer.spec import load_spec  # noqa: E402
from robot_dreamer.world_model.latent import stored_zeros  # noqa: E402

PRESETS = ("world_models:cpu", "planet:cpu", "dreamer_v1:cpu", "dreamer_v2:cpu", "daydreamer:cpu", "cpu_small")
ROWS = 1000


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", metavar="PRESET", default=PRESETS)
    parser.add_argument("--robots", nargs="+", default=("cartpole", "cartpole_camera"))
    parser.add_argument("--rounds", type=whole_number(1), default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine("torch"))
    print("| robot | preset | update, ms | portrait, ms | share of a run's time |\n|---|---|---|---|---|")
    for robot in options.robots:
        for preset in options.presets:
            update, draw, every = sides(robot, preset)
            print(row(robot, preset, *take_turns(update, draw, options.rounds), every), flush=True)


def sides(robot: str, preset: str) -> tuple[Callable[[], object], Callable[[], object], float]:
    """An update, a portrait, and the seconds between two portraits."""
    spec, config = load_spec(robot), load_config(preset, ["device=cpu"])
    agent = Agent(spec.observation_space(), spec.action_space(), config)
    rssm = agent.parts.world.rssm
    replay = Replay(spec, 4096, config.batch_length + 1, rssm.deter, rssm.latent)
    deter, stoch = np.zeros(rssm.deter, np.float32), stored_zeros(rssm.latent)
    for i in range(ROWS):
        replay.add("r/b", synthetic_row(spec, "r", "b", i), deter, stoch)
    run = SimpleNamespace(agent=agent, replay=replay, logdir=Path(tempfile.mkdtemp()), updates=0, env_steps=ROWS)
    gallery = Gallery(run, every=config.run.portrait_every)  # type: ignore[arg-type] # what it needs of a trainer

    def update() -> None:
        agent.update(batch_to(replay.sample(config.batch_size)[0], agent.device))
        run.updates += 1

    return update, gallery.draw, config.run.portrait_every


def take_turns(update: Callable[[], object], draw: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median ms of an update and of a portrait, five and one by turns; the first round warms up."""
    took: dict[str, list[float]] = {"update": [], "portrait": []}
    for turn in range(rounds + 1):
        for name, side in [("update", update)] * 5 + [("portrait", draw)]:
            began = time.perf_counter()
            side()
            if turn:
                took[name].append(1e3 * (time.perf_counter() - began))
    return float(np.median(took["update"])), float(np.median(took["portrait"]))


def row(robot: str, preset: str, update: float, drawn: float, every: float) -> str:
    """A line of the table."""
    share = drawn / 1e3 / max(every, drawn / 1e3 / SHARE)
    return f"| {robot} | `{preset}` | {update:.0f} | {drawn:.0f} | {100 * share:.2f} % |"


if __name__ == "__main__":
    main()
