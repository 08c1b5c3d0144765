"""The whole family through the whole split: one table and one picture of learning curves.

    python benchmarks/family.py [--minutes 15] [--seeds 0] [--jobs 1] [--only planet dreamer_v2] [--out runs/family]

Each member trains as `robot-dreamer train --robot` does: simulated robot, policy node and learner as processes, ROS 2
and ZeroMQ between them, then an evaluation of the bundle handed over beside the random policy on the same seeds. Its
preset is the small one for two CPU cores. `--jobs` runs share the machine: give each two cores. A run that has been
trained so long and evaluated is not made again, others go on. Written below `--out`: table.md, table.json, curves.png,
and each run's log directory with its output in family.log. Exit status 1 if a run failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402
from robot_dreamer.intervals import student  # noqa: E402
from robot_dreamer.option_types import whole_number  # noqa: E402
from robot_dreamer.report.curve import running_mean  # noqa: E402
from robot_dreamer.report.history import EpisodeReader  # noqa: E402
from robot_dreamer.report.run_files import NoRun, RunFiles, read_run  # noqa: E402
from robot_dreamer.spec import load_spec  # noqa: E402

Interval = tuple[float, float]
BLUE, ORANGE = "#0072B2", "#D55E00"  # told apart by everyone


@dataclass(frozen=True)
class Member:
    """A generation, its small preset, and the robot that it learns on."""

    generation: str
    preset: str
    robot: str = "cartpole"


FAMILY = (
    Member("World Models", "world_models:cpu"),
    Member("PlaNet", "planet:cpu", "cartpole_slow"),  # at 25 Hz twelve planned actions reach half a second only
    Member("Dreamer V1", "dreamer_v1:cpu"),
    Member("DreamerV2", "dreamer_v2:cpu"),
    Member("DayDreamer", "daydreamer:cpu"),
    Member("DreamerV3", "cpu_small"),
)


@dataclass(frozen=True)
class Outcome:
    """What one run came to.

    Attributes:
      problem: why there is no result; empty if there is one.
      minutes: of training.
      robot_minutes: on the robot's clock. The rest is of the evaluation: means and 95 % intervals over episodes.
    """

    member: Member
    seed: int
    problem: str = ""
    minutes: float = 0.0
    updates: int = 0
    robot_minutes: float = 0.0
    mean: float = 0.0
    interval: Interval = (0.0, 0.0)
    random_mean: float = 0.0
    random_interval: Interval = (0.0, 0.0)

    @property
    def learned(self) -> bool:
        """The lower end of its interval is above the upper end of the random policy's."""
        return not self.problem and self.interval[0] > self.random_interval[1]


def main() -> int:
    """Train what is asked for; write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [member.preset.partition(":")[0] for member in FAMILY]
    parser.add_argument("--minutes", type=float, default=15.0, help="of training, each run")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument("--only", nargs="+", choices=known, default=known, metavar="PRESET", help=", ".join(known))
    parser.add_argument("--speed", type=float, default=4.0, help="at most this many times real time")
    parser.add_argument("--episodes", type=whole_number(2), default=20, help="of each evaluation")
    parser.add_argument("--out", type=Path, default=Path("runs/family"))
    options = parser.parse_args()
    members = [member for member, name in zip(FAMILY, known, strict=True) if name in options.only]
    runs = [(member, seed) for seed in options.seeds for member in members]
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(lambda run: train(*run, options), runs))
    about = f"{machine('torch', 'onnxruntime')}; {options.jobs} at a time"
    text = f"{table(outcomes)}\n\n{about}\n"
    (options.out / "table.md").write_text(text)
    content = {"about": about, "runs": [asdict(outcome) for outcome in outcomes]}
    (options.out / "table.json").write_text(json.dumps(content, indent=2))
    draw(options.out, outcomes, options.out / "curves.png")
    print(f"\n{text}\nwritten: {options.out}/table.md, table.json, curves.png")
    return int(any(outcome.problem for outcome in outcomes))


def folder_of(out: Path, member: Member, seed: int) -> Path:
    """Log directory of a run."""
    return out / f"{member.preset.replace(':', '_')}_seed{seed}"


def train(member: Member, seed: int, options: argparse.Namespace) -> Outcome:
    """One run to its end, or what kept it from it."""
    logdir = folder_of(options.out, member, seed).resolve()
    logdir.mkdir(parents=True, exist_ok=True)
    files = files_of(logdir)
    if not (files and files.evaluation and files.status and files.status.elapsed_s >= 60 * options.minutes):
        command = [sys.executable, "-m", "robot_dreamer.cli", "train", "--robot", member.robot, "--logdir", str(logdir)]
        command += ["--preset", member.preset, "--seed", str(seed), "--minutes", str(options.minutes)]
        command += ["--speed", str(options.speed), "--evaluate", str(options.episodes)]
        print(f"{logdir.name} ...", flush=True)
        if status := start(command, logdir / "family.log"):
            return Outcome(member, seed, problem=f"exit status {status}, see {logdir.name}/family.log")
    outcome = read(member, seed, logdir)
    print(f"{logdir.name}: {outcome.problem or f'return {outcome.mean:.0f}'}", flush=True)
    return outcome


def start(command: Sequence[str], output: Path) -> int:
    """Run a program to its end; its exit status."""
    with output.open("ab") as log:
        return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode


def files_of(logdir: Path) -> RunFiles | None:
    """What a run has written; None before it has begun."""
    try:
        return read_run(logdir)
    except NoRun:
        return None


def read(member: Member, seed: int, logdir: Path) -> Outcome:
    """The result of a finished run from its log directory."""
    files = files_of(logdir)
    if files is None or files.status is None or not files.evaluation:
        return Outcome(member, seed, problem=f"no evaluation in {logdir.name}")
    status, found, random = files.status, files.evaluation["evaluation"], files.evaluation["random"]
    if not (random and random["interval"] and found["interval"]):
        return Outcome(member, seed, problem=f"no interval to compare with random actions in {logdir.name}")
    return Outcome(
        member,
        seed,
        minutes=status.elapsed_s / 60,
        updates=status.updates,
        robot_minutes=status.lived / load_spec(member.robot).rate / 60,
        mean=found["mean"],
        interval=tuple(found["interval"]),
        random_mean=random["mean"],
        random_interval=tuple(random["interval"]),
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """A row for each run and, of several seeds, one for each generation, in Markdown."""
    lines = [
        "| generation | preset | robot | seed | minutes | robot minutes | updates | return | 95 % interval | random "
        "| learned |",
        "|---" * 11 + "|",
    ]
    for member in dict.fromkeys(outcome.member for outcome in outcomes):
        name = f"| {member.generation} | `{member.preset}` | {member.robot}"
        runs = [outcome for outcome in outcomes if outcome.member == member]
        for o in runs:
            if o.problem:
                lines.append(f"{name} | {o.seed} | | | | failed: {o.problem} | | | no |")
                continue
            lived = f"{o.seed} | {o.minutes:.1f} | {o.robot_minutes:.0f} | {o.updates}"
            lines.append(
                f"{name} | {lived} | {o.mean:.0f} | {_span(o.interval)} "
                f"| {o.random_mean:.0f} ({_span(o.random_interval)}) | {'yes' if o.learned else 'no'} |"
            )
        means = [o.mean for o in runs if not o.problem]
        if interval := student(means):  # over seeds, each a mean over episodes
            lines.append(f"{name} | {len(means)} seeds | | | | {np.mean(means):.0f} | {_span(interval)} | | |")
    return "\n".join(lines)


def _span(interval: Interval) -> str:
    return f"{interval[0]:.0f} to {interval[1]:.0f}"


def draw(out: Path, outcomes: Sequence[Outcome], path: Path) -> None:
    """A panel for each generation: returns of the training episodes, and the evaluation at the end."""
    members = list(dict.fromkeys(outcome.member for outcome in outcomes))
    columns = min(3, len(members))
    shape = (-(-len(members) // columns), columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * shape[0]), layout="constrained")
    panels = figure.subplots(*shape, squeeze=False, sharey=True)
    for axes in panels.flat[len(members) :]:
        axes.remove()
    for axes, member in zip(panels.flat, members, strict=False):
        _panel(axes, out, member, [outcome for outcome in outcomes if outcome.member == member])
    for axes in panels[:, 0]:
        axes.set_ylabel("return of an episode")
    figure.savefig(path, dpi=150)


def _panel(axes: Axes, out: Path, member: Member, outcomes: Sequence[Outcome]) -> None:
    axes.set(title=f"{member.generation} ({member.robot})", xlabel="robot time (minutes)", ylim=(0, 1000))
    rate = load_spec(member.robot).rate
    for outcome in outcomes:
        episodes = EpisodeReader(folder_of(out, member, outcome.seed) / "episodes.jsonl").read()
        if not episodes:
            continue
        minutes = [episode.env_step / rate / 60 for episode in episodes]
        returns = [episode.total for episode in episodes]
        axes.plot(minutes, returns, ".", color=BLUE, alpha=0.15, markersize=3)
        axes.plot(minutes, running_mean(returns), color=BLUE)
        if not outcome.problem:
            bar = [[outcome.mean - outcome.interval[0]], [outcome.interval[1] - outcome.mean]]
            axes.errorbar(minutes[-1], outcome.mean, bar, fmt="o", color=ORANGE, capsize=3)
            axes.axhline(outcome.random_mean, color="0.5", linestyle=":")


if __name__ == "__main__":
    sys.exit(main())
