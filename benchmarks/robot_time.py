"""How long a robot has to live until it can do it: minutes of its own clock to 50 % and 90 % of what it comes to.

    robot-dreamer sweep --seeds 3 --logdir runs/reach train --robot so101 --clock realtime --minutes 40
    python benchmarks/robot_time.py runs/reach runs/cartpole [--output robot_time.png]

Reads finished runs; it trains nothing. A run's final return is that of its evaluation, or the mean of its last ten
episodes where it has none; 0 % is the evaluated random policy, or the mean of the first five episodes. A level is
reached where the mean of the last ten episodes is above it. Robot minutes are steps over the RobotSpec's rate, however
fast the simulation ran, so they hold for a robot that learns at that train ratio. Whether a learner can keep up with
the robot is another matter: the last column says how many updates a second the train ratio asks for at real-time speed,
and how many this machine made, so that what a faster one would change can be reckoned.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from robot_dreamer.intervals import student  # noqa: E402
from robot_dreamer.report.curve import running_mean  # noqa: E402
from robot_dreamer.report.run_files import read_run  # noqa: E402

LEVELS = (0.5, 0.9)
FIRST, LAST = 5, 10  # episodes


@dataclass(frozen=True)
class Learned:
    """One run.

    Attributes:
      minutes: robot minutes at the end of each episode.
      returns: of the episodes.
      low, high: what 0 and 100 % are.
      wanted, made: updates a second: what the train ratio asks for in real time, what this machine made.
    """

    robot: str
    preset: str
    seed: int
    minutes: Sequence[float]
    returns: Sequence[float]
    low: float
    high: float
    wanted: float
    made: float

    def reached(self, level: float) -> float:
        """Robot minutes until the running mean is above a level; infinite if it never is."""
        threshold = self.low + level * (self.high - self.low)
        means = running_mean(self.returns, LAST)
        return next((m for m, x in zip(self.minutes[FIRST:], means[FIRST:], strict=True) if x >= threshold), np.inf)


def main() -> None:
    """Print the table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="log directories, or folders of such")
    parser.add_argument("--output", type=Path, default=Path("robot_time.png"), help="picture")
    options = parser.parse_args()
    runs = [read(file.parent) for place in options.runs for file in sorted(place.rglob("episodes.jsonl"))]
    if not runs:
        parser.error("no run: give log directories that hold episodes.jsonl")
    print(f"{table(runs)}\n\n{machine('torch')}")
    draw(runs, options.output)
    print(f"picture: {options.output}")


def read(logdir: Path) -> Learned:
    """A run from its log directory. Raises ValueError for one that is too short."""
    files = read_run(logdir)
    status, config, episodes = files.status, files.config, files.episodes
    if status is None or not config or len(episodes) <= FIRST + LAST:
        raise ValueError(f"{logdir}: expected a run of more than {FIRST + LAST} episodes, found {len(episodes)}")
    spec = files.run["spec"]
    returns = [episode.total for episode in episodes]
    low, high = float(np.mean(returns[:FIRST])), float(np.mean(returns[-LAST:]))
    if evaluation := files.evaluation:
        high = evaluation["evaluation"]["mean"]
        low = evaluation["random"]["mean"] if evaluation["random"] else low
    preset = re.sub(" seed=[0-9]+", "", config["name"])  # with what was set beside it: those are no seeds of one
    wanted = spec["rate"] * config["train_ratio"] / (config["batch_size"] * config["batch_length"])
    made = status.updates / max(status.elapsed_s, 1.0)
    minutes = [episode.env_step / spec["rate"] / 60 for episode in episodes]
    return Learned(spec["name"], preset, config["run"]["seed"], minutes, returns, low, high, wanted, made)


def table(runs: Sequence[Learned]) -> str:
    """A row for each robot and preset, in Markdown: means over seeds, with 95 % intervals where there are several."""
    lines = [
        "| robot | preset | seeds | random | final return | minutes to 50 % | to 90 % | lived "
        "| updates/s asked, made |",
        "|---" * 9 + "|",
    ]
    groups: dict[tuple[str, str], list[Learned]] = defaultdict(list)
    for run in runs:
        groups[run.robot, run.preset].append(run)
    for (robot, preset), group in groups.items():
        reached = " | ".join(_with_interval([run.reached(level) for run in group], 1) for level in LEVELS)
        lived, final = [run.minutes[-1] for run in group], [run.high for run in group]
        rates = f"{group[0].wanted:.1f}, {np.mean([run.made for run in group]):.1f}"
        lines.append(
            f"| {robot} | `{preset}` | {len(group)} | {np.mean([run.low for run in group]):.0f} "
            f"| {_with_interval(final, 0)} | {reached} | {np.mean(lived):.0f} | {rates} |"
        )
    return "\n".join(lines)


def draw(runs: Sequence[Learned], path: Path) -> None:
    """Share of the final return over robot minutes, a line a run."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys((run.robot, run.preset) for run in runs))
    for run in runs:
        share = (np.array(running_mean(run.returns, LAST)) - run.low) / max(run.high - run.low, 1e-9)
        number = names.index((run.robot, run.preset))
        first = next(other for other in runs if (other.robot, other.preset) == (run.robot, run.preset)) is run
        label = f"{run.robot}, {run.preset}" if first else None
        axes.plot(run.minutes, 100 * share, color=f"C{number}", linewidth=1, label=label)
    for level in LEVELS:
        axes.axhline(100 * level, color="#888888", linestyle="--", linewidth=1)
    axes.set(xlabel="minutes on the robot's clock", ylabel="% of the final return", ylim=(-20, 130))
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def _with_interval(values: Sequence[float], digits: int) -> str:
    if not np.isfinite(values).all():
        never = int(np.isinf(values).sum())
        return f"not reached in {never} of {len(values)}"
    interval = student(values)
    between = f" ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})" if interval else ""
    return f"{np.mean(values):.{digits}f}{between}"


if __name__ == "__main__":
    main()
