"""Was the robot well served? Loop, link, bundles, guard, surprise."""

from __future__ import annotations

from typing import Any

import numpy as np

from robot_dreamer.record import INTERVENTION, RANDOM_POLICY, TAKEN_OVER
from robot_dreamer.report.blocks import Section, Table
from robot_dreamer.report.charts import Chart, Series, number
from robot_dreamer.report.run_files import RunFiles
from robot_dreamer.report.sections.behavior import episode_time

WORST = 3  # most surprising moments that are named
_HISTORY = (  # title, label, one of ROBOT_NUMBERS
    ("Control ticks missed", "missed ticks", "loop_misses"),
    ("Bundle on board", "version", "bundle_version"),
    ("Age of the policy on board", "age (s)", "bundle_age_s"),
    ("Rows waiting on the robot's disk", "rows", "spooled"),
    ("Round trip of the link", "time (s)", "round_trip"),
)


def robot(files: RunFiles) -> Section:
    """The chapter."""
    section = Section("robot", "Robot", "Was the robot well served?")
    robots = files.status.robots if files.status is not None else []
    if robots:
        section.blocks.append(_counters(robots))
        if not files.robots:
            section.say("robots.jsonl: how these numbers came about over the run was not written down.", "missing")
        for title, label, name in _HISTORY if files.robots else ():
            section.chart(_history(files, title, label, name))
    elif files.run.get("environment"):
        section.say(f"Trained in the learner's own process ({files.run['environment']}): no link, and no loop to miss.")
    else:
        section.say("No robot has reported to this learner.", "missing")
    _policies(section, files)
    _surprise(section, files)
    return section


def _counters(robots: list[dict[str, Any]]) -> Table:
    """One column for each robot."""
    figures = [r.get("figures", {}) for r in robots]
    lines: list[tuple[str, list[Any]]] = [
        ("connected at the end", ["yes" if r.get("connected") else "no" for r in robots]),
        ("rows stored", [r.get("received") for r in robots]),
        ("rows sent twice, stored once", [r.get("duplicates") for r in robots]),
        ("rows missing", [r.get("missing") for r in robots]),
        ("rows rejected", [_sum(r.get("rejected")) for r in robots]),
        ("rows dropped on the robot", [_sum(r.get("dropped")) for r in robots]),
        ("bad messages", [_sum(r.get("bad_messages")) for r in robots]),
        ("control ticks", [f.get("loop_ticks") for f in figures]),
        ("control ticks missed", [f.get("loop_misses") for f in figures]),
        ("bundles swapped in", [f.get("swaps") for f in figures]),
        ("samples refused", [f.get("refused_samples") for f in figures]),
        ("faults of the guard", [f.get("faults") for f in figures]),
        ("rows driven by a person", [f.get("interventions") for f in figures]),
    ]
    rows = [
        [name, *("not reported" if v is None else f"{v:,}" if isinstance(v, int) else str(v) for v in values)]
        for name, values in lines
    ]
    return Table("Counters since the learner was last started", ["", *(str(r.get("robot")) for r in robots)], rows)


def _sum(counts: Any) -> int | None:
    return sum(counts.values()) if isinstance(counts, dict) else None


def _history(files: RunFiles, title: str, label: str, wanted: str) -> Chart:
    start = min(reports.kept[0][0] for reports in files.robots.values())
    series = []
    for name, reports in files.robots.items():
        points = [((time - start) / 60, numbers[wanted]) for time, numbers in reports.kept if wanted in numbers]
        if points:
            minutes, values = zip(*points, strict=True)
            series.append(Series(name, minutes, values, style="steps"))
    return Chart(title, "time since the first report (min)", label, series, missing="robots.jsonl has no such numbers")


def _policies(section: Section, files: RunFiles) -> None:
    """Which policy acted at the end of each episode."""
    versions = [e.policy_version for e in files.episodes]
    if not versions:
        return
    steps = [e.env_step for e in files.episodes]
    bundles: dict[str, list[int]] = {}  # of each robot: those of a fleet do not change them at the same moment
    for episode in files.episodes:
        if episode.policy_version >= 0:
            bundles.setdefault(episode.robot, []).append(episode.policy_version)
    backwards = sum(b < a for of in bundles.values() for a, b in zip(of, of[1:], strict=False))
    section.chart(
        Chart(
            "Policy that acted",
            "rows of experience",
            "version",
            [Series("at the end of an episode", steps, versions, style="steps")],
            f"{RANDOM_POLICY}: random actions before the first policy; {INTERVENTION}: a person; "
            f"{TAKEN_OVER}: a person had taken over and gave no command. "
            f"{backwards} times an older one followed a newer one on the same robot.",
        )
    )
    lengths = [e.length for e in files.episodes]
    section.chart(
        Chart("Length of episodes", "rows of experience", "actions", [Series("episode", steps, lengths, style="dots")])
    )


def _surprise(section: Section, files: RunFiles) -> None:
    portrait = files.portrait()
    if "episode/surprise" not in portrait:
        section.say("No portrait holds a whole episode: no surprise along it.", "missing")
        return
    surprise = portrait["episode/surprise"]
    time, label = episode_time(files, len(surprise))
    worst = [i for i in np.argsort(surprise[1:])[::-1][:WORST] + 1 if np.isfinite(surprise[i])]
    moments = ", ".join(f"{number(float(time[i]))} ({number(float(surprise[i]))} nats)" for i in worst)
    section.chart(
        Chart(
            "Surprise along the newest episode",
            label,
            "nats",
            [Series("surprise", time[1:], surprise[1:])],
            f"How little the model expected what it saw. Largest at {moments}." if worst else "",
        )
    )
