"""The whole split on this machine: simulated robot, policy node and learner as processes, then an evaluation."""

from __future__ import annotations

import argparse
import importlib.util
import logging
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console

from export.reconstruct import reconstructor
from robot_dreamer.commands.options import STOPPED, chosen_config
from robot_dreamer.commands.records import log_directory, record_command
from robot_dreamer.commands.startable import require_startable
from robot_dreamer.learner.run import BUNDLES
from robot_dreamer.onboard.bundle import bundle_number, proven_bundles, written_bundles
from robot_dreamer.processes import Options, processes
from robot_dreamer.processes.own_address import own_address
from robot_dreamer.processes.ros_domain import own_domain
from robot_dreamer.processes.supervisor import Result, Supervisor
from robot_dreamer.report.console import plain_console
from robot_dreamer.report.curve import draw_curve
from robot_dreamer.report.display import Display
from robot_dreamer.report.page import write_report
from robot_dreamer.report.sections.result import FILM_FILE
from robot_dreamer.run_status import read_status
from robot_dreamer.settings.learner import DEFAULT_PRESET
from robot_dreamer.spec import RobotSpec, load_spec
from sim.evaluate import Evaluation, compare, evaluate, write_evaluation
from sim.film import Film

_log = logging.getLogger(__name__)
EVALUATION_SEED = 1000  # far from the seeds of training
CHOICE_SEED = 2000  # of the episodes by which a bundle is chosen: others than those by which it is judged


def train_split(args: argparse.Namespace) -> int:
    """See `robot-dreamer train --robot`."""
    spec = load_spec(args.robot)
    chosen_config(args)  # refuse a wrong preset before anything starts
    logdir = log_directory(args)
    record_command(logdir)
    result = _run(args, logdir)
    console = plain_console()
    if result.state == "failed":
        console.print(f"failed: {result.message}", highlight=False, markup=False, soft_wrap=True)
        return 1
    if result.state != "finished" or _phase(logdir) != "finished":
        console.print(f"stopped; everything is in {logdir}; run the same command again to go on", soft_wrap=True)
        return STOPPED
    _report(spec, logdir, args.evaluate, console)
    return 0


def _run(args: argparse.Namespace, logdir: Path) -> Result:
    with own_domain() as environment, nullcontext(args.bind) if args.bind else own_address() as bind:
        options = Options(
            robot=args.robot,
            logdir=logdir,
            clock=args.clock,
            robots=args.robots,
            bind=bind,
            preset=args.preset or DEFAULT_PRESET,
            overrides=tuple(args.set),
            minutes=args.minutes,
            steps=args.steps,
            seed=args.seed,
            speed=args.speed,
            threads=args.threads,
            init_from=args.init_from,
            freeze=args.freeze,
            demonstrations=args.demonstrations,
        )
        require_startable(options)
        with Display(logdir):
            return Supervisor(processes(options), logdir, environment).run()


def _phase(logdir: Path) -> str:
    status = read_status(logdir)
    return status.phase if status else "stopped before the learner was up"


def _report(spec: RobotSpec, logdir: Path, episodes: int, console: Console) -> None:
    """Evaluate the best bundle and a random policy on the same seeds; write and print everything."""
    bundle = _best(spec, logdir / BUNDLES, episodes)
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


def _best(spec: RobotSpec, bundles: Path, episodes: int) -> Path:
    """The newest bundle, or the proven one of the training's episodes: whichever has the higher mean return here.

    Without evaluation the proven one, if there is one.
    """
    newest, proven = written_bundles(bundles)[-1], proven_bundles(bundles)
    if not proven or bundle_number(proven[-1]) == bundle_number(newest):
        return newest
    if not episodes:
        return proven[-1]
    candidates: list[Path | None] = [newest, proven[-1]]
    means = [result.mean for result in compare(candidates, spec, episodes, CHOICE_SEED)]
    return newest if means[0] >= means[1] else proven[-1]


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
