"""Our learning curves over the published ones of DreamerV3, per task, with a table of scores.

    robot-dreamer train --env dmc:cartpole_swingup --seed 0 --logdir runs/swingup_0
    python benchmarks/learning.py runs/swingup_0 runs/swingup_1 --official scores_dmc_proprio.csv
    python benchmarks/learning.py --launch cartpole_swingup reacher_easy --seeds 0 1 --steps 50000 --runs runs/learning

A run is a log directory with scores.csv and run.json, as `robot-dreamer train --env` writes them. `--launch` trains
first, one run after the other, each below `--runs`; what was begun before goes on where it stopped.

Steps are steps of the environment, action repeats included. The score at step N is computed as for the published table:
of each seed the mean over the episodes that end within 25 % of N (N up to 20k) or 10 % (above), then mean and, of
several, standard deviation over the seeds. The official file has the columns method,task,step,mean,std,n_seeds; without
it our scores are shown alone. Scores are also normalised as the papers do (benchmarks/normalised.py), with the
interquartile mean over tasks and seeds and, where each task has several seeds, its 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.normalised import normalised, over_tasks  # noqa: E402
from robot_dreamer.config import differences, load_config  # noqa: E402
from robot_dreamer.learner.progress import RUN_FILE  # noqa: E402

K = TypeVar("K", bound=Hashable)
STEPS = (10_000, 20_000, 50_000, 100_000, 250_000, 500_000)
# The published curves were made with these settings (commit 2411f7d of the published code), not with today's.
PUBLISHED = load_config("dreamer_v3:dmc_proprio:12m", ["train_ratio=512", "action_repeat=2"])
PUBLISHED_ALSO = (
    "they also differ from ours by what that older code did: several environments in parallel, kernels drawn from an "
    "uncut normal distribution, no biases on the logits of the latents, the true instead of the predicted continue "
    "flag at the start of imagination"
)


@dataclass(frozen=True)
class Run:
    """One seed of one task.

    variant: its preset and what was changed of it; runs with others are not seeds of one method.
    """

    task: str
    seed: int
    steps: np.ndarray
    scores: np.ndarray
    about: dict[str, Any]

    @property
    def variant(self) -> str:
        return re.sub(" seed=[0-9]+", "", str(self.about["config"]["name"]))


@dataclass(frozen=True)
class Published:
    """One row of the official table."""

    mean: float
    std: float
    seeds: int


Table = dict[tuple[str, int], Published]  # by task and step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logdirs", nargs="*", type=Path, help="log directories of runs, or folders of such")
    parser.add_argument("--official", type=Path, help="table of published scores (CSV)")
    parser.add_argument("--output", type=Path, default=Path("learning.png"), help="picture")
    parser.add_argument("--launch", nargs="+", metavar="TASK", default=[], help="dm_control tasks to train first")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="with --launch")
    parser.add_argument("--preset", default="dreamer_v3:dmc_proprio", help="with --launch")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="with --launch")
    parser.add_argument("--steps", type=int, default=250_000, help="with --launch: environment steps, repeats included")
    parser.add_argument("--threads", type=int, default=1, help="with --launch")
    parser.add_argument("--runs", type=Path, default=Path("runs/learning"), help="with --launch: where the runs are")
    options = parser.parse_args()
    launched = launch(options)
    runs = read_runs([*options.logdirs, *launched])
    if not runs:
        parser.error("no run: give log directories that hold scores.csv, or --launch TASK")
    official = read_official(options.official) if options.official else {}
    print(describe(runs))
    print(table(runs, official))
    draw(runs, official, options.output)
    print(f"\npicture: {options.output}")


def launch(options: argparse.Namespace) -> list[Path]:
    """Train every task with every seed; returns the log directories."""
    logdirs = []
    for task in options.launch:
        for seed in options.seeds:
            logdirs.append(options.runs / f"{task}_seed{seed}")
            command = [sys.executable, "-m", "robot_dreamer.cli", "train", "--env", f"dmc:{task}", "--seed", str(seed)]
            command += ["--preset", options.preset, *(x for setting in options.set for x in ("--set", setting))]
            command += ["--steps", str(options.steps), "--threads", str(options.threads)]
            train([*command, "--logdir", str(logdirs[-1].resolve())])
    return logdirs


def train(command: list[str]) -> None:
    """One run to its end; Ctrl-C, which it hears too, lets it save. Raises CalledProcessError if it failed."""
    program = subprocess.Popen(command, cwd=ROOT)
    try:
        program.wait()
    finally:
        program.wait()
    if program.returncode:
        raise subprocess.CalledProcessError(program.returncode, command)


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """All runs in these folders, by task and seed. Raises ValueError for a file that holds no scores."""
    runs = []
    for file in sorted({found for path in paths for found in path.rglob("scores.csv")}):
        with file.open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        if not rows:
            print(f"{file}: no episode has ended yet", file=sys.stderr)
            continue
        if missing := {"task", "seed", "step", "score"} - rows[0].keys():
            raise ValueError(f"{file}: expected columns method,task,seed,step,score; missing {sorted(missing)}")
        steps, scores = ([float(row[name]) for row in rows] for name in ("step", "score"))
        about = json.loads((file.parent / RUN_FILE).read_text())
        runs.append(Run(rows[0]["task"], int(rows[0]["seed"]), np.array(steps), np.array(scores), about))
    for (task, variant, seed), same in _grouped(runs, lambda run: (run.task, run.variant, run.seed)).items():
        if len(same) > 1:
            raise ValueError(f"{task}: {len(same)} runs of {variant} have seed {seed}; they do not count as two seeds")
    return sorted(runs, key=lambda run: (run.task, run.variant, run.seed))


def _grouped(runs: Sequence[Run], key: Callable[[Run], K]) -> dict[K, list[Run]]:
    groups: dict[K, list[Run]] = defaultdict(list)
    for run in runs:
        groups[key(run)].append(run)
    return groups


def series(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each task, by the task's name; where they are of several variants, those apart, with their names."""
    variants = {task: {run.variant for run in found} for task, found in _grouped(runs, lambda run: run.task).items()}
    return _grouped(runs, lambda run: run.task if len(variants[run.task]) == 1 else f"{run.task}, {run.variant}")


def read_official(path: Path) -> Table:
    """DreamerV3's rows of the published table."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "dreamerv3"]
    return {
        (row["task"], int(row["step"])): Published(float(row["mean"]), float(row["std"]), int(row["n_seeds"]))
        for row in rows
    }


def score_at(run: Run, step: int) -> float | None:
    """Mean return of the episodes that end near a step, None if the run ended more than an episode before it."""
    width = step * (0.25 if step <= 20_000 else 0.1)
    near = run.scores[np.abs(run.steps - step) <= width]
    episode = np.diff(run.steps, prepend=0.0).max()
    return float(near.mean()) if len(near) and run.steps.max() + episode > step else None


def describe(runs: Sequence[Run]) -> str:
    """Code, machine and settings of the runs, and how the settings differ from those of the published curves."""
    lines = []
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        about = run.about
        found = differences(about["config"], PUBLISHED.to_dict())
        text = [f"  preset {run.variant}"]
        text += [f"  robot_dreamer {about['code']}; torch {about['torch']}; {about['machine']}"]
        text += ["  settings that differ from those of the published curves:"]
        text += [f"    {name}: ours {ours}, published {theirs}" for name, ours, theirs in found] or ["    none"]
        groups["\n".join(text)].append(run)
    for text, group in groups.items():
        names = ", ".join(f"{run.task} seed {run.seed} ({run.steps.max():.0f} steps)" for run in group)
        lines += [f"{names}:", text]
    return "\n".join([*lines, f"  {PUBLISHED_ALSO}", ""])


def table(runs: Sequence[Run], official: Table) -> str:
    """Scores at the steps of the published table, in Markdown, and what they come to over tasks."""
    lines = ["| task | step | ours | seeds | published | seeds | normalised: ours, published |", "|---" * 7 + "|"]
    # By step and what comes after the task's name, then by task: normalised scores of the seeds.
    common: dict[tuple[int, str], dict[str, list[float]]] = defaultdict(dict)
    for label, found in series(runs).items():
        task = found[0].task
        for step in STEPS:
            scores = [x for run in found if (x := score_at(run, step)) is not None]
            theirs = official.get((task, step))
            if not scores:
                continue
            published = f"{theirs.mean:.0f} ± {theirs.std:.0f} | {theirs.seeds}" if theirs else "– | –"
            scaled = [x for score in scores if (x := normalised(task, score)) is not None]
            both = [float(np.mean(scaled))] if scaled else []
            both += [normalised(task, theirs.mean) or 0.0] if scaled and theirs else []
            if scaled:
                common[step, label.removeprefix(task)][task] = scaled
            spread = f" ± {np.std(scores):.0f}" if len(scores) > 1 else ""
            lines.append(
                f"| {label} | {step} | {np.mean(scores):.0f}{spread} | {len(scores)} | {published} "
                f"| {', '.join(f'{x:.3f}' for x in both)} |"
            )
        recent = [run.scores[-10:].mean() for run in found]
        until = min(run.steps.max() for run in found)
        lines.append(f"| {label} | last 10 episodes, to {until:.0f} | {np.mean(recent):.0f} | {len(found)} | | | |")
    for (step, variant), scores_of in sorted(common.items()):
        middle, interval = over_tasks(scores_of)
        between = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "a task of one seed, so no interval"
        about = f"{between}; {len(scores_of)} tasks, {sum(map(len, scores_of.values()))} runs"
        lines.append(f"\nnormalised, interquartile mean at {step} steps{variant}: {middle:.3f} ({about})")
    return "\n".join(lines)


def draw(runs: Sequence[Run], official: Table, path: Path) -> None:
    """One panel per task and variant: mean and standard deviation, ours over all seeds, the published beside it."""
    found = series(runs)
    figure = Figure(figsize=(4.5 * len(found), 3.6), layout="constrained")
    for axes, (label, ours) in zip(np.atleast_1d(figure.subplots(1, len(found))), found.items(), strict=True):
        points = sorted((step, theirs) for (name, step), theirs in official.items() if name == ours[0].task)
        if points:
            x, mean, std = np.array([(step, theirs.mean, theirs.std) for step, theirs in points]).T
            axes.plot(x, mean, "o-", color="0.5", label=f"DreamerV3, published ({points[0][1].seeds} seeds)")
            axes.fill_between(x, mean - std, mean + std, color="0.5", alpha=0.2, linewidth=0)
        x, curves = smooth(ours)
        mean, std = curves.mean(0), curves.std(0)
        axes.plot(x, mean, color="C0", label=f"robot_dreamer ({len(curves)} seed{'s' * (len(curves) > 1)})")
        axes.fill_between(x, mean - std, mean + std, color="C0", alpha=0.2, linewidth=0)
        right = next((step for step, _ in points if step > x.max()), x.max())  # the next published score is in view
        axes.set(
            title=textwrap.fill(label, 60),
            xlabel="environment steps",
            ylabel="return of an episode",
            xlim=(0, 1.1 * right),
        )
        axes.locator_params(axis="x", nbins=5)  # the steps' names are long
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def smooth(runs: Sequence[Run], points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Running mean over ten episodes on common steps up to where the shortest run is: steps (P,), scores (runs, P)."""
    x = np.linspace(max(run.steps[0] for run in runs), min(run.steps[-1] for run in runs), points)
    curves = []
    for run in runs:
        total = np.concatenate([[0.0], np.cumsum(run.scores)])
        end = np.arange(1, len(run.scores) + 1)
        begin = np.maximum(end - 10, 0)
        curves.append(np.interp(x, run.steps, (total[end] - total[begin]) / (end - begin)))
    return x, np.stack(curves)


if __name__ == "__main__":
    main()
