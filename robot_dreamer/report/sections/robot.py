"""Was the robot well served? Loop, link, bundles, guard, surprise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from robot_dreamer.record import INTERVENTION, RANDOM_POLICY
from robot_dreamer.report.blocks import Section, Table
from robot_dreamer.report.charts import Chart, Series, number
from robot_dreamer.report.run_files import RunFiles
from robot_dreamer.report.sections.behavior import episode_time

WORST = 3  # most surprising moments that are named
_HISTORY: tuple[tuple[str, str, Callable[[dict[str, Any]], Any]], ...] = (
    ("Control ticks missed", "missed ticks", lambda r: r["figures"].get("loop_misses")),
    ("Bundle on board", "version", lambda r: r["figures"].get("bundle_version")),
    ("Age of the policy on board", "age (s)", lambda r: r["figures"].get("bundle_age_s")),
    ("Rows waiting on the robot's disk", "rows", lambda r: r.get("spooled")),
    ("Round trip of the link", "time (s)", lambda r: r.get("round_trip")),
)


def robot(files: RunFiles) -> Section:
    """The chapter."""
    section = Section("robot", "Robot", "Was the robot well served?")
    robots = files.status.robots if files.status is not None else []
    if robots:
        section.blocks.append(_counters(robots))
        if not files.robots:
            section.say("robots.jsonl: how these numbers came about over the run was not written down.", "missing")
        for title, label, read in _HISTORY if files.robots else ():
            section.chart(_history(files, title, label, read))
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


def _history(files: RunFiles, title: str, label: str, read: Callable[[dict[str, Any]], Any]) -> Chart:
    found: dict[str, tuple[list[float], list[float]]] = {}
    start = next((line["time"] for line in files.robots if "time" in line), 0.0)
    for line in files.robots:
        for one in line["robots"]:
            value = read({"figures": {}, **one})
            if isinstance(value, int | float) and "time" in line:
                minutes, values = found.setdefault(str(one.get("robot")), ([], []))
                minutes.append((line["time"] - start) / 60)
                values.append(float(value))
    series = [Series(name, x, y, style="steps") for name, (x, y) in found.items()]
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
            f"{RANDOM_POLICY}: random actions before the first policy; {INTERVENTION}: a person. "
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
