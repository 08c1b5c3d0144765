"""Is the behaviour right? What it hopes for beside what came, and what it does."""

from __future__ import annotations

import numpy as np

from robot_dreamer.record import Arrays
from robot_dreamer.report.blocks import Section
from robot_dreamer.report.charts import Chart, Series
from robot_dreamer.report.over_training import below, over_training
from robot_dreamer.report.run_files import RunFiles
from robot_dreamer.report.sections.verdicts import behavior_verdicts
from robot_dreamer.report.sensors import component_names

_BINS = 21
ACTIONS = 6  # components of which there is a histogram


def behavior(files: RunFiles) -> Section:
    """The chapter."""
    section = Section("behaviour", "Behaviour", "Is the behaviour right?")
    portrait = files.portrait()
    for level, text in behavior_verdicts(portrait):
        section.say(text, level)
    if portrait:
        _episode(section, files, portrait)
        _hopes(section, portrait)
        _actions(section, files, portrait)
    else:
        section.say("No portrait has been kept of this run: no values and imagined returns to show.", "missing")
    hopes = {
        "Imagined and obtained reward over training": ("imagined/predicted", "imagined/obtained"),
        "Value and obtained return over training": ("value/value", "value/obtained"),
    }
    for title, (hoped, came) in hopes.items():
        names = {f"portrait/{hoped}": "hoped for", f"portrait/{came}": "came"}
        if files.names(f"portrait/{hoped}"):
            section.chart(over_training(files, title, names, "reward"))
    section.chart(over_training(files, "Entropy of the policy", below(files, "policy/entropy/"), "nats"))
    names = {f"loss/{n}": n for n in ("policy", "actor", "value", "critic", "replay_value", "controller")}
    section.chart(over_training(files, "Losses of actor and critic", names, "loss"))
    names = {n: n.removeprefix("advantage/") for n in files.names("advantage/") if "mean" in n or "std" in n}
    section.chart(over_training(files, "Advantage", names, "scaled return"))
    for title, ending, unit in (
        ("Gradient norms", "gradient_norm", "norm"),
        ("Size of an update", "update_rms", "root mean square"),
    ):
        names = {n: _module(n) for n in files.names("optimizer/") if n.endswith(ending)}
        section.chart(over_training(files, title, names, unit, log_y=True))
    return section


def _module(name: str) -> str:
    parts = name.split("/")
    return parts[1] if len(parts) == 3 else "all parameters"


def episode_time(files: RunFiles, rows: int) -> tuple[np.ndarray, str]:
    if files.spec is None:
        return np.arange(rows), "row of the episode"
    return np.arange(rows) / files.spec.rate, "time in the episode (s)"


def _episode(section: Section, files: RunFiles, portrait: Arrays) -> None:
    if "episode/reward" not in portrait:
        section.say("No whole episode was at hand for the portrait: no value along an episode.", "missing")
        return
    time, label = episode_time(files, len(portrait["episode/reward"]))
    if "episode/value" in portrait:
        section.chart(
            Chart(
                "Value along the newest episode",
                label,
                "discounted return",
                [
                    Series("critic", time, portrait["episode/value"], colour=0),
                    Series("obtained", time, portrait["episode/obtained"], style="reference"),
                ],
                "Where the episode was cut by a time limit, the critic's last value stands for the rest.",
            )
        )
    else:
        section.say("This generation has no critic, so no values.", "missing")
    section.chart(
        Chart(
            "Reward along the newest episode",
            label,
            "reward of a row",
            [Series("reward", time, portrait["episode/reward"])],
        )
    )


def _hopes(section: Section, portrait: Arrays) -> None:
    if "imagined/predicted" not in portrait:
        section.say("No imagined return: the windows are shorter than an imagined trajectory.", "missing")
        return
    predicted, obtained = portrait["imagined/predicted"], portrait["imagined/obtained"]
    both = [x[np.isfinite(x)] for x in (predicted, obtained)]
    ends = [min(x.min() for x in both), max(x.max() for x in both)] if all(len(x) for x in both) else []
    section.chart(
        Chart(
            "Imagined against obtained reward",
            f"obtained in {int(portrait['imagined/steps'])} rows",
            "imagined by the policy of now",
            [
                Series("start", obtained, predicted, style="dots", colour=0),
                Series("equal", ends, ends, style="reference"),
            ]
            if ends
            else [],
            "From the same rows. Above the line: the policy of now hopes for more than the one that acted then got.",
            missing="no episode in the portrait was long enough",
        )
    )


def _actions(section: Section, files: RunFiles, portrait: Arrays) -> None:
    shown = 0
    for key in sorted(k for k in portrait if k.startswith("action/")):
        name, values = key.removeprefix("action/"), portrait[key]
        discrete = values.dtype.kind in "iu"
        flat = values.reshape(values.shape[0] * values.shape[1], -1)
        labels = component_names(files.spec, name, flat.shape[1])
        for i in range(flat.shape[1]):
            shown += 1
            if shown > ACTIONS:
                continue
            edges = np.arange(flat[:, i].max() + 2) - 0.5 if discrete else np.linspace(-1, 1, _BINS + 1)
            counts, _ = np.histogram(flat[:, i], edges)
            title = f"Actions: {name}" + (f", {labels[i]}" if labels[i] != name else "")
            section.chart(
                Chart(
                    title,
                    "class" if discrete else "action, normalised (1)",
                    "share of rows",
                    [Series("executed", (edges[1:] + edges[:-1]) / 2, counts / max(1, counts.sum()), style="bars")],
                )
            )
    if shown > ACTIONS:
        section.say(f"Histograms of {ACTIONS} of {shown} components of the action are shown.")
