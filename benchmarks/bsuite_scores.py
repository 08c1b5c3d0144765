"""bsuite's own scores of our runs, per experiment and per capability, with its radar picture.

    robot-dreamer train --env bsuite:catch/0 --preset cpu_small --steps 100000 --logdir runs/bsuite/catch_0
    python benchmarks/bsuite_scores.py runs/bsuite [--output bsuite.png]

A run keeps bsuite's own file in its log directory. Scores are bsuite's (Osband et al. 2020), 0 to 1: of regret, against
a random and an optimal agent, over the number of episodes that each experiment asks for. An experiment that has not
come to that number is scored over what there is and marked; a capability counts the experiments that were tried.
It needs the extra `bsuite`.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402

CAPABILITIES = ("basic", "noise", "scale", "exploration", "credit_assignment", "memory", "generalization")
BLUE = "#0072B2"


def main() -> None:
    """Print the tables, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="log directories, or folders of such")
    parser.add_argument("--output", type=Path, default=Path("bsuite.png"), help="picture")
    options = parser.parse_args()
    folders = sorted({file.parent for place in options.runs for file in place.rglob("bsuite_id_-_*.csv")})
    if not folders:
        parser.error("no run of bsuite: train one with `robot-dreamer train --env bsuite:catch/0 …`")
    scores = experiment_scores(folders)
    found = capabilities(scores)
    print("| experiment | score | settings | of its episodes |\n|---|---|---|---|")
    for one in scores:
        print(f"| {one['bsuite_env']} | {one['score']:.2f} | {one['settings']} | {one['share']:.0%} |")
    print("\n| capability | score |\n|---|---|")
    print("\n".join(f"| {name.replace('_', ' ')} | {score:.2f} |" for name, score in found.items()))
    draw(found, options.output)
    print(f"\n{machine('torch', 'bsuite')}\npicture: {options.output}")


def experiment_scores(folders: list[Path]) -> list[dict[str, Any]]:
    """bsuite's summary of each experiment, and which share of its episodes the shortest of its runs has."""
    import pandas
    from bsuite.experiments import summary_analysis
    from bsuite.logging import csv_load

    rows = pandas.concat([csv_load.load_one_result_set(str(folder)) for folder in folders])
    scores = summary_analysis.bsuite_score(rows).to_dict("records")
    for one in scores:
        runs = rows[rows.bsuite_env == one["bsuite_env"]].groupby("bsuite_id").episode.max()
        wanted = summary_analysis.BSUITE_INFO[one["bsuite_env"]].episode
        one |= {"settings": len(runs), "share": min(1.0, runs.min() / wanted), "tags": ast.literal_eval(one["tags"])}
    return scores


def capabilities(scores: list[dict[str, Any]]) -> dict[str, float]:
    """Mean score of the experiments that try each capability; one that none tried is not there."""
    by_tag: dict[str, list[float]] = defaultdict(list)
    for one in scores:
        for tag in one["tags"]:
            by_tag[tag].append(float(one["score"]))
    return {tag: float(np.mean(by_tag[tag])) for tag in CAPABILITIES if tag in by_tag}


def draw(found: dict[str, float], path: Path) -> None:
    """The radar: a spoke for each capability."""
    angles = np.linspace(0, 2 * np.pi, len(CAPABILITIES), endpoint=False)
    values = np.array([found.get(name, 0.0) for name in CAPABILITIES])
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot(projection="polar")
    axes.plot(np.append(angles, angles[0]), np.append(values, values[0]), color=BLUE, linewidth=2)
    axes.fill(angles, values, color=BLUE, alpha=0.2)
    labels = [name.replace("_", " ") + ("" if name in found else "\n(not tried)") for name in CAPABILITIES]
    axes.set_xticks(angles, labels)
    axes.set_ylim(0, 1)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
