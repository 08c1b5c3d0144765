"""What came out of a run."""

from __future__ import annotations

import base64
from typing import Any

from robot_dreamer.report.blocks import Movie, Section
from robot_dreamer.report.charts import Chart, Series, number
from robot_dreamer.report.curve import WINDOW, running_mean
from robot_dreamer.report.figures import failed_episodes
from robot_dreamer.report.run_files import RunFiles
from robot_dreamer.report.sections.drawn import against_drawn

FILM_FILE = "film.mp4"
FILM_LIMIT = 8_000_000  # bytes of a film that a page still holds


def result(files: RunFiles) -> Section:
    """Return against random, and what it cost."""
    section = Section("result", "Result", "What came out?")
    evaluation, random = files.evaluation.get("evaluation"), files.evaluation.get("random")
    if isinstance(evaluation, dict):
        of = f", bundle {evaluation['version']}" if "version" in evaluation else ""
        section.tiles.append((f"return, evaluated{of}{_interval(evaluation)}", _mean(evaluation)))
    if isinstance(random, dict):
        section.tiles.append((f"return, random policy{_interval(random)}", _mean(random)))
    totals = [episode.total for episode in files.episodes]
    if totals:
        section.tiles.append((f"return, last {min(WINDOW, len(totals))} episodes", number(running_mean(totals)[-1])))
    if failed := failed_episodes(files.evaluation):
        section.say(failed)
    section.tiles += _costs(files)
    section.chart(_curve(files, evaluation, random))
    against_drawn(section, files.episodes)
    _film(section, files)
    if not isinstance(evaluation, dict):
        whose = "the episodes that it learns from" if files.offline else "acting with noise, while learning"
        section.say(f"No evaluation has been made: the returns are those of {whose}.", "missing")
    return section


def _film(section: Section, files: RunFiles) -> None:
    path = files.logdir / FILM_FILE
    if not path.exists():
        section.say(f"{FILM_FILE}: no episode has been filmed (evaluate --video {FILM_FILE}).", "missing")
    elif files.went_on:
        section.say(f"{FILM_FILE}: of the run before it went on.", "missing")
    elif path.stat().st_size > FILM_LIMIT:
        section.say(
            f"{FILM_FILE} is too large for this page ({path.stat().st_size / 1e6:.0f} MB); it is beside it.", "missing"
        )
    else:
        uri = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
        caption = "An episode with the mean actions. Beside the robot what its policy sees, below value and surprise."
        section.blocks.append(Movie("The policy at work", uri, caption))


def _mean(result: dict[str, Any]) -> str:
    mean = result.get("mean")
    return f"{mean:.4g}" if isinstance(mean, int | float) else "unreadable"


def _interval(result: dict[str, Any]) -> str:
    interval = result.get("interval")
    return f" (95 %: {interval[0]:.4g} to {interval[1]:.4g})" if interval else ""


def _costs(files: RunFiles) -> list[tuple[str, str]]:
    found, status = [], files.status
    if status is not None:
        found.append(("rows of experience", f"{status.env_steps:,}"))
        if files.spec is not None:
            found.append(("robot minutes", number(status.lived / files.spec.rate / 60)))
        found.append(("minutes of training", number(status.elapsed_s / 60)))
        found.append(("updates", f"{status.updates:,}"))
        if status.skipped_updates:
            found.append(("updates skipped, not finite", f"{status.skipped_updates:,}"))
    found.append(("episodes", f"{len(files.episodes):,}"))
    return found


def _curve(files: RunFiles, evaluation: Any, random: Any) -> Chart:
    steps, totals = [e.env_step for e in files.episodes], [e.total for e in files.episodes]
    series = [
        Series("episode", steps, totals, style="dots", colour=5),
        Series(f"mean of {WINDOW}", steps, running_mean(totals), colour=0),
    ]
    if steps and isinstance(random, dict) and "mean" in random:
        series.append(Series("random policy", [0, steps[-1]], [random["mean"]] * 2, style="reference"))
    if steps and isinstance(evaluation, dict) and "mean" in evaluation:
        series.append(Series("evaluation", [steps[-1]], [evaluation["mean"]], colour=3))
    return Chart(
        "Return over experience",
        "rows of experience",
        "return of an episode",
        series,
        "Each dot is an episode as it was lived, exploration included.",
        missing="no episode has ended yet",
    )
