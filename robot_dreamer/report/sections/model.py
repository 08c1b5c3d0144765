"""Is the world model right? What it sees, dreams and expects, beside what happened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.record import Arrays
from robot_dreamer.report.blocks import Section, Table
from robot_dreamer.report.charts import Chart, Series, number
from robot_dreamer.report.over_training import below, over_training
from robot_dreamer.report.run_files import RunFiles
from robot_dreamer.report.sections.verdicts import model_verdicts
from robot_dreamer.report.sensors import component_names, component_units, with_unit
from robot_dreamer.report.strips import cameras, dream_strip, rows_dreamed

CURVES = 9  # components that are drawn, those with the largest error first
HORIZONS = (1, 5, 15, 30, 50)  # rows ahead, in the table of errors
ROWS = 100  # components of a sensor in that table, those that are dreamed worst


def model(files: RunFiles) -> Section:
    """The chapter."""
    section = Section("model", "World model", "Is the world model right?")
    portrait = files.portrait()
    if portrait:
        update, step = int(portrait["update"]), int(portrait["env_step"])
        section.say(
            f"Portrait after {update:,} updates and {step:,} rows, of the newest experience: the model filters "
            f"{int(portrait['context'])} rows, then dreams up to {int(portrait['horizon'])} under the actions that "
            "were executed."
        )
        for level, text in model_verdicts(files, portrait):
            section.say(text, level)
        _strips(section, files, portrait)
        _curves(section, files, portrait)
        _errors(section, files, portrait)
        _heads(section, portrait)
    else:
        section.say("No portrait has been kept of this run: no reconstructions and dreams to show.", "missing")
    _over_training(section, files)
    return section


def sensors(portrait: Arrays) -> list[str]:
    """Names of the observations in a portrait."""
    return sorted(key.removeprefix("spread/") for key in portrait if key.startswith("spread/"))


def _strips(section: Section, files: RunFiles, portrait: Arrays) -> None:
    found = cameras(portrait)
    if not found:
        section.say("This robot has no camera: its dreams are the curves below.")
    for name in found:
        section.blocks.append(dream_strip(portrait, name))
        first = files.portrait(0) if len(files.portraits) > 1 else {}
        if f"truth/{name}" in first:
            title = f"{name}: the same after {int(first['update']):,} updates, for comparison"
            section.blocks.append(dream_strip(first, name, title=title))


def _curves(section: Section, files: RunFiles, portrait: Arrays) -> None:
    """Recorded, reconstructed and dreamed values of the components that are dreamed worst."""
    found: list[tuple[float, str, int]] = []
    for name in sensors(portrait):
        if name in cameras(portrait) or f"rmse/dreamt/{name}" not in portrait:
            continue
        error = relative(portrait, name)
        found += [(float(e), name, i) for i, e in enumerate(error) if np.isfinite(e)]
    found.sort(key=lambda entry: -entry[0])
    for _, name, i in found[:CURVES]:
        section.chart(_curve(files, portrait, name, i))
    if len(found) > CURVES:
        section.say(f"Shown are the {CURVES} of {len(found)} components that are dreamed worst; the table has more.")


def relative(portrait: Arrays, name: str) -> NDArray[Any]:
    """Error of the dreams (C), over the whole horizon, in standard deviations of the recorded values."""
    error, spread = portrait[f"rmse/dreamt/{name}"], portrait[f"spread/{name}"]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.sqrt(np.nanmean(np.square(error), 0)) if np.isfinite(error).any() else error[0]
        return np.where(spread > 0, mean / spread, np.nan)


def _curve(files: RunFiles, portrait: Arrays, name: str, i: int) -> Chart:
    truth = portrait[f"truth/{name}"][0]
    steps = truth.shape[0]
    truth, seen = truth.reshape(steps, -1)[:, i], portrait[f"seen/{name}"][0].reshape(steps, -1)[:, i]
    dreamed = rows_dreamed(portrait, 0)
    dreamt = portrait[f"dreamt/{name}"][:, 0]
    dreamt = dreamt.reshape(*dreamt.shape[:2], -1)[:, :dreamed, i]
    context = int(portrait["context"])
    count = int(np.prod(portrait[f"truth/{name}"].shape[2:]))
    label, unit = component_names(files.spec, name, count)[i], component_units(files.spec, name, count)[i]
    period = 1 / files.spec.rate if files.spec is not None else 1.0
    time = (np.arange(steps) - context + 1) * period
    ahead = time[context : context + dreamed]
    band = {"low": dreamt[0], "high": dreamt[-1]} if len(dreamt) == 3 else {}
    ended = dreamed < int(portrait["horizon"])
    return Chart(
        f"{name}: {label}" if label != name else name,
        "time since the dream began (s)" if files.spec is not None else "rows since the dream began",
        with_unit(label, unit),
        [
            Series("recorded", time, truth, style="reference"),
            Series("reconstructed", time, seen, colour=2),
            Series("dreamed, middle of 8 and 80 % of them", ahead, dreamt[len(dreamt) // 2], **band, colour=3),
        ],
        "The dream ends where the episode did; what is recorded behind it is of the next one." if ended else "",
    )


def _errors(section: Section, files: RunFiles, portrait: Arrays) -> None:
    horizon, series = int(portrait["horizon"]), []
    rows: list[list[str]] = []
    judged = [portrait[f"rmse/still/{name}"] for name in sensors(portrait)]  # no number where no episode was so long
    shown = [h for h in HORIZONS if h <= horizon and any(np.isfinite(x[h - 1]).any() for x in judged)] or [1]
    for name in sensors(portrait):
        error, still, spread = (portrait[f"{key}/{name}"] for key in ("rmse/dreamt", "rmse/still", "spread"))
        moves = spread > 0
        if not moves.any():
            section.say(f"{name}: never changed in what was recorded, so there is nothing to dream.", "missing")
            continue
        series.append(
            Series(name, np.arange(1, horizon + 1), np.sqrt(np.square(error[:, moves] / spread[moves]).mean(1)))
        )
        units = component_units(files.spec, name, len(spread))
        names = component_names(files.spec, name, len(spread))
        if name in cameras(portrait):
            units, names = ["of full brightness"], ["pixels"]
        worst = np.argsort(-np.nan_to_num(relative(portrait, name), nan=-1.0), kind="stable")[:ROWS]
        for i in sorted(worst.tolist()):
            numbers = [number(float(error[h - 1, i])) for h in shown]
            seen, hold = float(portrait[f"rmse/seen/{name}"][i]), float(still[shown[-1] - 1, i])
            rows.append([name, names[i], units[i], number(float(spread[i])), number(seen), *numbers, number(hold)])
    section.chart(
        Chart(
            "Open-loop error against horizon",
            "rows dreamed ahead",
            "error (standard deviations)",
            [*series, Series("knows nothing", [1, horizon], [1, 1], style="reference")] if series else [],
            "Root mean square over all windows and dreams, as a share of what the sensor varies by. "
            "At 1 the dream is no better than always saying the mean.",
            missing="no episode in the portrait was long enough, or nothing was finite",
        )
    )
    ahead = [f"dreamed, +{h}" for h in shown]
    head = ["sensor", "component", "unit", "standard deviation", "reconstructed", *ahead, f"unchanged, +{shown[-1]}"]
    caption = "Root mean squared errors in the unit of the sensor; of classes the share that is wrong."
    if any(len(portrait[f"spread/{name}"]) > ROWS for name in sensors(portrait)):
        caption += f" Of a sensor with more components the {ROWS} that are dreamed worst are shown."
    section.blocks.append(Table("Errors in units", head, rows, caption))


def _heads(section: Section, portrait: Arrays) -> None:
    if "reward/true" in portrait:
        true, seen = portrait["reward/true"].ravel(), portrait["reward/seen"].ravel()
        low, high = float(min(true.min(), seen.min())), float(max(true.max(), seen.max()))
        section.chart(
            Chart(
                "Reward: predicted against true",
                "reward of a row",
                "predicted reward",
                [
                    Series("row", true, seen, style="dots", colour=5),
                    Series("exact", [low, high], [low, high], style="reference"),
                ],
                "From the filtered state. Rewards that the model learns as tanh(reward) are shown as such.",
            )
        )
    else:
        section.say("This generation's model predicts no reward.", "missing")
    if "live/true" in portrait:
        section.blocks.append(_calibration(portrait["live/true"].ravel(), portrait["live/seen"].ravel()))
    else:
        section.say("This configuration's model does not predict whether an episode goes on.", "missing")


def _calibration(true: NDArray[Any], seen: NDArray[Any]) -> Table:
    edges, rows = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.001], []
    for low, high in zip(edges, edges[1:], strict=False):
        chosen = (seen >= low) & (seen < high)
        if chosen.any():
            means = number(float(seen[chosen].mean())), number(float(true[chosen].mean()))
            rows.append([f"{low:g} to {min(high, 1):g}", f"{int(chosen.sum()):,}", *means])
    caption = (
        "The last two columns agree where the head is calibrated. Targets are below 1 where the discount is in them."
    )
    return Table(
        "Does the episode go on? Calibration", ["predicted", "rows", "mean predicted", "mean true"], rows, caption
    )


def _over_training(section: Section, files: RunFiles) -> None:
    prefix = "portrait/error/dreamt/"
    if files.names(prefix):
        section.chart(
            over_training(files, "Open-loop error over training", below(files, prefix), "error (standard deviations)")
        )
    names = {"kl": "KL", "loss/dynamics": "dynamics loss", "loss/representation": "representation loss"}
    section.chart(over_training(files, "KL of posterior and prior", names, "nats"))
    names = {"entropy/prior": "prior", "entropy/posterior": "posterior"}
    names = names if files.names("entropy/") else {f"portrait/{k}": v for k, v in names.items()}
    section.chart(over_training(files, "Entropy of the latents", names, "nats"))
    section.chart(
        over_training(
            files,
            "Reconstruction loss by sensor",
            below(files, "loss/reconstruction/"),
            "loss (nats or squares)",
            log_y=True,
        )
    )
    names = {"loss/reward": "reward", "loss/continuation": "continue", "loss/memory": "memory"}
    section.chart(over_training(files, "Losses of the other heads", names, "loss (nats)"))
