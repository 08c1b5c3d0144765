"""Evaluation: the onboard code against the simulated robot, in one process, with a seed for every episode.

robot-dreamer evaluate --bundle runs/default/policy.bundle --robot cartpole --episodes 10 --against-random
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.progress import Progress
from rich.table import Table

from robot_dreamer.bundle_names import newest_version
from robot_dreamer.intervals import student
from robot_dreamer.onboard.bundle import read_bundle, spec_for
from robot_dreamer.onboard.policy import ActingPolicy, RandomPolicy
from robot_dreamer.onboard.proof import prove
from robot_dreamer.option_types import whole_number
from robot_dreamer.report.charts import number
from robot_dreamer.report.console import plain_console
from robot_dreamer.spec import RobotSpec
from sim.episode import Episode, EpisodeStopped, run_episode
from sim.film import Film, Reconstruct
from sim.robot import SimRobot

FORMAT = 1  # of the JSON file


@dataclass(frozen=True)
class Evaluation:
    """Result of some episodes.

    Attributes:
      policy: "random", or the bundle's file name.
      version: the bundle's version; -1 for the random policy.
      deterministic: mean or most likely actions; False: sampled ones.
      seeds, returns, lengths: per episode; lengths in actions. An episode depends on its seed alone.
      failed: episodes whose simulation lost itself; they count with what they had by then.
      failed_seeds: of these.
      mean: of the returns.
      interval: of the mean, 95 %, by Student's t; None for a single episode.
      drawn: how each episode differed from the nominal model; empty where nothing varies.
    """

    robot: str
    spec_hash: str
    policy: str
    version: int
    deterministic: bool
    seeds: list[int]
    returns: list[float]
    lengths: list[int]
    mean: float
    interval: tuple[float, float] | None
    failed: int = 0
    failed_seeds: list[int] = field(default_factory=list)
    drawn: list[dict[str, Any]] = field(default_factory=list)


def evaluate(
    bundle: Path | None,
    spec: RobotSpec,
    episodes: int = 10,
    seed: int = 0,
    deterministic: bool = True,
    progress: Callable[[], object] = lambda: None,
    film: Film | None = None,
) -> Evaluation:
    """Run episodes with seeds seed, seed + 1, ….

    Args:
      bundle: None for the random policy.
      deterministic: mean or most likely actions instead of sampled ones; the random policy ignores it.
      progress: called after each episode.
      film: shows the first episode.

    Raises:
      ValueError: the bundle is broken or for another robot, or the robot cannot be simulated.
      RuntimeError: the guard stopped an episode.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, found {episodes}")
    robot = SimRobot(spec, seed)
    onnx_policy = None
    if bundle is not None:
        onnx_policy = prove(bundle, read_bundle(bundle, spec))
    seeds = [seed + i for i in range(episodes)]
    found: list[Episode] = []
    for one in seeds:
        policy: ActingPolicy = RandomPolicy(spec, one) if onnx_policy is None else onnx_policy
        shown = film.watch(robot, policy) if film is not None and one == seed else lambda *_: None
        found.append(run_episode(robot, policy, one, deterministic, shown))
        progress()
    returns = [episode.score for episode in found]
    failed = [one for one, episode in zip(seeds, found, strict=True) if episode.lost]
    return Evaluation(
        robot=spec.name,
        spec_hash=spec.hash,
        policy="random" if bundle is None else bundle.name,
        version=policy.version,
        deterministic=deterministic and bundle is not None,
        seeds=seeds,
        returns=returns,
        lengths=[episode.length for episode in found],
        mean=float(np.mean(returns)),
        interval=student(returns),
        failed=len(failed),
        failed_seeds=failed,
        drawn=[episode.drawn for episode in found if episode.drawn],
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `robot-dreamer evaluate`."""
    parser.add_argument("--bundle", type=Path, help="policy to evaluate; without it the random policy")
    parser.add_argument(
        "--robot", default="", help="name of a robot, or path to its RobotSpec; default: the bundle's, else cartpole"
    )
    parser.add_argument("--episodes", type=int, default=10, help="number of episodes")
    parser.add_argument(
        "--seed", type=whole_number(0, 2**31 - 1), default=0, help="of the first episode; the next ones count up"
    )
    parser.add_argument(
        "--sample", action="store_true", help="sample actions, as in training, instead of taking the mean"
    )
    parser.add_argument("--against-random", action="store_true", help="run the random policy too, with the same seeds")
    parser.add_argument("--min-return", type=float, help="exit status 1 if the mean return is below")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--video", type=Path, metavar="MP4", help="film of the first episode to write")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="LOGDIR",
        help="with --video: show what the policy sees, by the decoder of this run's newest checkpoint",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, print a table on stdout. Returns 0, or 1 below --min-return."""
    for option in ("sample", "against_random"):
        if args.bundle is None and getattr(args, option):
            told = option.replace("_", "-")
            raise ValueError(f"--{told}: only with --bundle; without one random actions are all that there is")
    if args.checkpoint is not None and (args.video is None or args.bundle is None):
        raise ValueError("--checkpoint: only with --video and --bundle, whose state it makes visible")
    policies = [args.bundle, None] if args.against_random else [args.bundle]
    spec = spec_for(args.robot, args.bundle)
    with ExitStack() as stack:
        film = None if args.video is None else stack.enter_context(Film(args.video, spec, _eyes(args, spec)))
        results = compare(policies, spec, args.episodes, args.seed, not args.sample, film)
    if film is not None:
        print(f"written: {args.video}")
    passed = args.min_return is None or results[0].mean >= args.min_return
    if args.output is not None:
        write_evaluation(args.output, results, args.min_return, passed)
        print(f"written: {args.output}")
    if not passed:
        print(f"mean return {results[0].mean:.10g} is below --min-return {args.min_return:g}", file=sys.stderr)
    return 0 if passed else 1


def _eyes(args: argparse.Namespace, spec: RobotSpec) -> Reconstruct | None:
    if args.checkpoint is None:
        return None
    from export.reconstruct import reconstructor  # needs torch, which an evaluation does not

    return reconstructor(args.checkpoint, spec, args.bundle)


def compare(
    bundles: Sequence[Path | None],
    spec: RobotSpec,
    episodes: int,
    seed: int,
    deterministic: bool = True,
    film: Film | None = None,
    stopped: Callable[[str], object] | None = None,
) -> list[Evaluation]:
    """Evaluate several policies on the same seeds, with a progress bar, and print a table; see `evaluate`.

    Args:
      film: of the first of them.
      stopped: is told why a policy is left out, of which the guard stopped an episode; default: that is raised.
    """
    results: list[Evaluation] = []
    with Progress(console=plain_console(stderr=True), transient=True) as bar:
        for bundle in bundles:
            name = "random policy" if bundle is None else bundle.name
            task = bar.add_task(name, total=episodes)
            advance = functools.partial(bar.advance, task)
            shown = film if not results else None
            try:
                results.append(evaluate(bundle, spec, episodes, seed, deterministic, advance, shown))
            except EpisodeStopped as error:
                if stopped is None:
                    raise
                stopped(f"{name} is not evaluated: {error}")
    if results:
        plain_console().print(_table(results))
    return results


def _table(results: list[Evaluation]) -> Table:
    first = results[0]
    table = Table(title=f"{first.robot}: {len(first.seeds)} episodes, seeds {first.seeds[0]} to {first.seeds[-1]}")
    caption = "interval of the mean by Student's t"
    if failed := {_who(result): result.failed_seeds for result in results if result.failed}:
        seeds = "; ".join(f"{who} with seeds {', '.join(map(str, found))}" for who, found in failed.items())
        caption += f"; episodes failed, because the simulation lost itself: {seeds}"
    table.caption = caption
    for column in ("policy", "actions", "mean return", "95 % interval", "lowest", "highest", "length"):
        justify: Literal["left", "right"] = "left" if column in ("policy", "actions") else "right"
        table.add_column(column, justify=justify, overflow="fold")  # where there is little room no digit is left out
    for result in results:
        interval = "–" if result.interval is None else " to ".join(map(number, result.interval))
        table.add_row(
            _who(result),
            "mean" if result.deterministic else "sampled",
            number(result.mean),
            interval,
            number(min(result.returns)),
            number(max(result.returns)),
            f"{np.mean(result.lengths):.0f}",
        )
    return table


def _who(result: Evaluation) -> str:
    return "random" if result.version < 0 else f"bundle {result.version}"


def write_evaluation(
    path: Path, results: list[Evaluation], min_return: float | None = None, passed: bool = True
) -> None:
    """Write results as JSON: the policy's, and beside it the random policy's if there is one.

    In the log directory of a run it says which bundle was the newest, so that it is seen when the run has gone on.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "evaluation": asdict(results[0]),
        "random": asdict(results[1]) if len(results) > 1 else None,
        "min_return": min_return,
        "passed": passed,
        "newest_bundle": newest_version(path.parent),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
