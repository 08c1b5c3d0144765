"""What a run through the split came to: evaluation, curve, film and report of the best bundle."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from export.reconstruct import reconstructor
from robot_dreamer.bundle_names import BUNDLES, proven_bundles, written_bundles
from robot_dreamer.numbered_files import number_of
from robot_dreamer.report.curve import draw_curve
from robot_dreamer.report.history import EpisodeReader
from robot_dreamer.report.page import write_report
from robot_dreamer.report.run_files import EVALUATION_FILE, read_run
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
    _forget_older(logdir)
    found = _evaluated([bundle, None], spec, episodes, EVALUATION_SEED) if episodes else {}
    own, random = found.get(bundle.name), found.get("random")
    places = {"run": logdir, "bundle": bundle}
    if own:
        write_evaluation(logdir / EVALUATION_FILE, [own, random] if random else [own])
        places["evaluation"] = logdir / EVALUATION_FILE
    if EpisodeReader(logdir / "episodes.jsonl").read():  # a file that is there may hold none: its line was torn
        places["learning curve"] = draw_curve(
            logdir / "episodes.jsonl",
            logdir / "learning_curve.png",
            title=spec.name,
            random_return=random.mean if random else None,
            evaluation=(own.mean, own.interval) if own else None,
        )
    if own and _film(bundle, spec, logdir):
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
    numbered = {number_of(path): path for path in (*proven, *written)}
    candidates = [numbered[number] for number in sorted(numbered, reverse=True)]
    if len(candidates) == 1:
        return candidates[0]
    found = _evaluated(candidates, spec, episodes, CHOICE_SEED)
    finished = [path for path in candidates if path.name in found]
    return max(finished, key=lambda path: found[path.name].mean) if finished else candidates[0]


def _evaluated(bundles: Sequence[Path | None], spec: RobotSpec, episodes: int, seed: int) -> dict[str, Evaluation]:
    """By file name, or "random"; without those of which the guard stopped an episode: no training is in vain for it."""
    return {result.policy: result for result in compare(bundles, spec, episodes, seed, stopped=_log.warning)}


def _forget_older(logdir: Path) -> None:
    """Remove evaluation and film of what the run was before it went on: they would be taken for those of today."""
    if read_run(logdir).went_on:
        for name in (EVALUATION_FILE, FILM_FILE):
            (logdir / name).unlink(missing_ok=True)


def _film(bundle: Path, spec: RobotSpec, logdir: Path) -> bool:
    """Film the first evaluation episode, where the machine can: without a film a run is none the worse."""
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        _log.info("no film: it needs the extra film")
        return False
    candidate = logdir / f"candidate-{FILM_FILE}"
    try:
        with Film(candidate, spec, reconstructor(logdir, spec, bundle)) as film:
            evaluate(bundle, spec, 1, EVALUATION_SEED, film=film)
    except (RuntimeError, ValueError, OSError) as error:  # ffmpeg died, nothing renders, the guard stopped it
        _log.warning("no film: %s", error)
        candidate.unlink(missing_ok=True)
        return False
    candidate.replace(logdir / FILM_FILE)
    return True
