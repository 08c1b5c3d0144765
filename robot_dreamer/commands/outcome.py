"""What a run through the split came to: evaluation, curve, film and report of the best bundle."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from rich.console import Console

from export.reconstruct import reconstructor
from robot_dreamer.learner.run import BUNDLES
from robot_dreamer.onboard.bundle import bundle_number, proven_bundles, written_bundles
from robot_dreamer.report.curve import draw_curve
from robot_dreamer.report.page import write_report
from robot_dreamer.report.sections.result import FILM_FILE
from robot_dreamer.spec import RobotSpec
from sim.evaluate import Evaluation, compare, evaluate, write_evaluation
from sim.film import Film

_log = logging.getLogger(__name__)
EVALUATION_SEED = 1000  # far from the seeds of training
CHOICE_SEED = 2000  # of the episodes by which a bundle is chosen: others than those by which it is judged


def report_outcome(spec: RobotSpec, logdir: Path, episodes: int, console: Console) -> None:
    """Evaluate the best bundle and a random policy on the same seeds; write and print everything."""
    bundle = best_bundle(spec, logdir / BUNDLES, episodes)
    results: list[Evaluation] = []
    if episodes:
        results = compare([bundle, None], spec, episodes, EVALUATION_SEED)
        write_evaluation(logdir / "evaluation.json", results)
    places = {"run": logdir, "bundle": bundle}
    if results:
        places["evaluation"] = logdir / "evaluation.json"
    if (logdir / "episodes.jsonl").exists():  # otherwise no episode has ended yet
        places["learning curve"] = draw_curve(
            logdir / "episodes.jsonl",
            logdir / "learning_curve.png",
            title=spec.name,
            random_return=results[1].mean if results else None,
            evaluation=(results[0].mean, results[0].interval) if results else None,
        )
    if results and _film(bundle, spec, logdir):
        places["film"] = logdir / FILM_FILE
    places["report"] = write_report(logdir)
    console.print("everything of this run:")
    for label, place in places.items():
        console.print(f"  {label:15} {place}", highlight=False, soft_wrap=True)


def best_bundle(spec: RobotSpec, bundles: Path, episodes: int) -> Path:
    """Of the last bundles and the proven one of the training's episodes that with the highest mean return here.

    With large steps policies differ from one bundle to the next, by more than two of them can tell. Without evaluation
    the proven one, or the newest where none is proven. Of equals the newest.
    """
    proven, written = proven_bundles(bundles)[-1:], written_bundles(bundles)
    if not episodes:
        return (proven or written)[-1]
    numbered = {bundle_number(path): path for path in (*proven, *written)}
    candidates = [numbered[number] for number in sorted(numbered, reverse=True)]
    if len(candidates) == 1:
        return candidates[0]
    means = [result.mean for result in compare(candidates, spec, episodes, CHOICE_SEED)]
    return candidates[means.index(max(means))]


def _film(bundle: Path, spec: RobotSpec, logdir: Path) -> bool:
    """Film the first evaluation episode, where the machine can: without a film a run is none the worse."""
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        _log.info("no film: it needs the extra film")
        return False
    candidate = logdir / f"candidate-{FILM_FILE}"
    try:
        with Film(candidate, spec, reconstructor(logdir, spec, bundle)) as film:
            evaluate(bundle, spec, 1, EVALUATION_SEED, film=film)
    except RuntimeError as error:  # it cannot be rendered, or the guard stopped the robot
        _log.warning("no film: %s", error)
        candidate.unlink(missing_ok=True)
        return False
    candidate.replace(logdir / FILM_FILE)
    return True
