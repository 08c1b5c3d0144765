"""Does it learn as the official DreamerV3 does? One task, equal settings, several seeds, curve and area beside theirs.

    python benchmarks/parity.py [--seeds 0 1 2 3] [--jobs 1] [--runs runs/parity] [--output parity.png]

`cartpole_swingup` of dm_control, action repeat 2, 20,040 environment steps (20 episodes), the sizes and rates of
SETTINGS, acting by sampling. The official figures below are those of danijar/dreamerv3 at e3f0224 with equal settings
(299,782 trained parameters on both sides, float32, one environment, one CPU process), four seeds, measured once on
2026-11-25; they are not measured again here. Scores are returns of training episodes; the area under the curve is the
mean score of all of them. Exit status 1 if the official code is better: if the 95 % interval of ours - official
(percentile bootstrap over seeds) lies below zero, of the area or of the last five episodes.

A run that is finished is not made again, one that was cut goes on. A seed takes about 5 minutes of a core.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.learning import Run, read_runs  # noqa: E402
from benchmarks.machine import machine  # noqa: E402
from robot_dreamer.intervals import bootstrap_difference  # noqa: E402

TASK, STEPS, EPISODES = "dmc:cartpole_swingup", 20_040, 20
SETTINGS = {  # of the preset cpu_small, which has the other values of the official run
    "action_repeat": 2,
    "batch_length": 32,
    "train_ratio": 128,
    "behavior.imagine_last": 8,
    "behavior.slow_rate": 0.02,
    "prefill": 544,  # rows: 512 windows of 33, as the official loop waits for
}
QUIET = {"publish_every": 3600, "checkpoint_every": 3600, "portrait_every": 0}  # what the official run leaves out
BIN = 2  # episodes, 2,004 environment steps
OFFICIAL = (  # of each seed: mean score of each two episodes
    (62, 104, 127, 176, 171, 157, 179, 209, 272, 331),
    (67, 99, 95, 165, 157, 168, 191, 214, 183, 169),
    (96, 106, 106, 116, 166, 122, 168, 184, 176, 166),
    (50, 55, 217, 194, 202, 233, 176, 175, 208, 288),
)
OFFICIAL_AREA = (179, 151, 141, 180)
OFFICIAL_LAST = (288, 179, 176, 229)  # mean of the last five episodes
BLUE, ORANGE = "#0072B2", "#D55E00"


def main() -> int:
    """Train what is missing, print the comparison, draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, a core each")
    parser.add_argument("--runs", type=Path, default=Path("runs/parity"), help="where the runs are")
    parser.add_argument("--output", type=Path, default=Path("parity.png"), help="picture")
    options = parser.parse_args()
    if len({*options.seeds}) < 2:
        parser.error("argument --seeds: expected two or more; what one seed comes to says nothing of the next")
    folders = [(seed, (options.runs / f"seed-{seed}").resolve()) for seed in options.seeds]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda one: train(*one), folders))
    runs = read_runs([folder for _, folder in folders])
    text, worse = compare(runs)
    print(f"{text}\n\n{machine('torch')}")
    draw(runs, options.output)
    print(f"picture: {options.output}")
    return int(worse)


def train(seed: int, logdir: Path) -> None:
    """One run to its end."""
    command = [sys.executable, "-m", "robot_dreamer.cli", "train", "--env", TASK, "--preset", "cpu_small"]
    command += ["--seed", str(seed), "--steps", str(STEPS), "--threads", "1", "--logdir", str(logdir)]
    command += [word for name, value in (SETTINGS | QUIET).items() for word in ("--set", f"{name}={value}")]
    subprocess.run(command, cwd=ROOT, check=True, stdin=subprocess.DEVNULL)


def compare(runs: Sequence[Run]) -> tuple[str, bool]:
    """The tables in Markdown, and whether the official code is better.

    Raises ValueError for a run that has not come to its end.
    """
    for run in runs:
        if len(run.scores) != EPISODES:
            raise ValueError(f"seed {run.seed}: expected {EPISODES} episodes, found {len(run.scores)}")
    curves = [run.scores.reshape(-1, BIN).mean(1) for run in runs]
    lines = ["| run | " + " | ".join(f"to {2 * (i + 1)}k" for i in range(EPISODES // BIN)) + " | last 5 | area |"]
    lines += ["|---" * (EPISODES // BIN + 3) + "|"]
    official = zip(OFFICIAL, OFFICIAL_LAST, OFFICIAL_AREA, strict=True)
    lines += [_line(f"official seed {i}", *row) for i, row in enumerate(official)]
    lines += [_line("official, mean", np.mean(OFFICIAL, 0), np.mean(OFFICIAL_LAST), np.mean(OFFICIAL_AREA))]
    areas, last = [run.scores.mean() for run in runs], [run.scores[-5:].mean() for run in runs]
    lines += [_line(f"ours seed {run.seed}", *row) for run, *row in zip(runs, curves, last, areas, strict=True)]
    lines += [_line("ours, mean", np.mean(curves, 0), np.mean(last), np.mean(areas)), ""]
    worse = False
    for name, ours, theirs in (("area", areas, OFFICIAL_AREA), ("last five episodes", last, OFFICIAL_LAST)):
        low, high = bootstrap_difference(ours, theirs)
        worse |= high < 0
        difference = np.mean(ours) - np.mean(theirs)
        lines.append(
            f"{name}: ours {np.mean(ours):.0f} ± {np.std(ours, ddof=1):.0f} ({len(ours)} seeds), official "
            f"{np.mean(theirs):.0f} ± {np.std(theirs, ddof=1):.0f} ({len(theirs)} seeds); ours - official "
            f"{difference:+.0f}, 95 % {low:+.0f} to {high:+.0f}{': WORSE' if high < 0 else ''}"
        )
    return "\n".join(lines), worse


def draw(runs: Sequence[Run], path: Path) -> None:
    """Mean and each seed of both sides."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    x = 2.004 * np.arange(1, EPISODES // BIN + 1)
    ours = [run.scores.reshape(-1, BIN).mean(1) for run in runs]
    for label, curves, colour in (("official e3f0224", OFFICIAL, ORANGE), ("robot_dreamer", ours, BLUE)):
        axes.plot(x, np.transpose(curves), color=colour, alpha=0.3, linewidth=1)
        axes.plot(x, np.mean(curves, 0), color=colour, linewidth=2, label=f"{label}, mean of {len(curves)} seeds")
    axes.set(xlabel="thousand environment steps", ylabel="return of a training episode", xlim=(0, 21), ylim=(0, None))
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def _line(name: str, curve: Sequence[float], last: float, area: float) -> str:
    return f"| {name} | " + " | ".join(f"{value:.0f}" for value in curve) + f" | {last:.0f} | {area:.0f} |"


if __name__ == "__main__":
    sys.exit(main())
