"""The page about a gate: gate.html, from gate.json and worst.mp4 beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_dreamer.report.blocks import Code, Movie, Section, Table
from robot_dreamer.report.charts import Chart, Series, number
from robot_dreamer.report.page import render_page, write_page
from robot_dreamer.report.sections.result import FILM_LIMIT

GATE_FILE, PAGE, FILM = "gate.json", "gate.html", "worst.mp4"
_GROWS = {
    "sensor_delay": ("Sensors that come late", "delay (control periods)"),
    "command_delay": ("Commands that come late", "delay (control periods)"),
    "jitter": ("Jitter of sensors and commands", "most additional delay (control periods)"),
    "loss": ("Lost samples and commands", "share that is lost (1)"),
    "noise": ("Noise of sensors", "standard deviation / spread under random actions (1)"),
    "push": ("Pushes", "speed that a push gives the heaviest part (m/s)"),
    "rate": ("Control rate", "rate / that of the RobotSpec - 1"),
}


def write_gate_page(folder: Path) -> Path:
    """Write gate.html; returns the file."""
    content = json.loads((folder / GATE_FILE).read_text(encoding="utf-8"))
    sections = [_verdict(content), _conditions(content), _ladders(content), _draws(content)]
    if content["against"]:
        sections.insert(1, _against(content))
    sections += [*([_film(content, folder)] if content["film"] else []), _setup(content)]
    bundle = content["bundle"]
    told = (bundle["file"], bundle["algorithm"], f"sha256 {bundle['sha256'][:12]}…")
    title = f"{content['robot']}, bundle {bundle['version']}: {'passed' if content['passed'] else 'not passed'}"
    return write_page(folder / PAGE, render_page(title, told, sections, content["notes"]))


def _verdict(content: dict[str, Any]) -> Section:
    section = Section("verdict", "Verdict", "May this bundle go onto the robot?")
    nominal, random = _of(content, "nominal"), _of(content, "random")
    seeds, failed = content["seeds"], [check for check in content["checks"] if not check["passed"]]
    section.tiles = [
        ("verdict", "passed" if content["passed"] else "not passed"),
        ("criteria met", f"{len(content['checks']) - len(failed)} of {len(content['checks'])}"),
        (f"nominal return (95 %: {_interval(nominal)})", number(nominal["mean"])),
        (f"random actions (95 %: {_interval(random)})", number(random["mean"])),
        ("episodes", f"{len(seeds)} for each of {len(content['results'])} conditions"),
        ("seeds", f"{seeds[0]} to {seeds[-1]}"),
    ]
    for check in failed:
        found = "nothing to compare with" if check["found"] is None else number(check["found"])
        section.say(f"{check['condition']}: {check['criterion']} {number(check['wanted'])}, found {found}.", "bad")
    if not failed:
        section.say("All criteria are met.", "good")
    return section


def _conditions(content: dict[str, Any]) -> Section:
    section = Section("conditions", "Conditions", "Where is it worst?")
    rows = []
    for result in sorted(content["results"], key=lambda result: float(result["mean"])):
        name = result["condition"]["name"]
        mine = [check["passed"] for check in content["checks"] if check["condition"] == name]
        rate = result["success_interval"]
        share = result["share_interval"]
        rows.append(
            [
                name,
                "shown" if not mine else "met" if all(mine) else "NOT MET",
                number(result["mean"]),
                _interval(result),
                "–" if share is None else f"{result['share']:.2f} ({share[0]:.2f} to {share[1]:.2f})",
                "–" if rate is None else f"{result['successes']} ({rate[0]:.0%} to {rate[1]:.0%})",
                number(min(result["returns"])),
                ", ".join(f"{kind} {count}" for kind, count in result["faults"].items()) or "–",
                str(result["limited"]),
            ]
        )
    head = ["condition", "criteria", "mean return", "95 %", "share (95 %)", "successes (95 %)", "lowest", "faults"]
    caption = (
        "Worst first. Share: of the nominal mean return above that of random actions. Intervals: percentile bootstrap "
        "of the mean, Wilson of the success rate. Faults stopped an episode; limited: commands that the guard clipped "
        "or slewed."
    )
    section.blocks.append(Table("Returns", [*head, "limited"], rows, caption))
    return section


def _ladders(content: dict[str, Any]) -> Section:
    section = Section("ladders", "Ladders", "How much can it take?")
    nominal, random = _of(content, "nominal"), _of(content, "random")
    theirs = content["against"]["results"] if content["against"] else []
    for group, (title, label) in _GROWS.items():
        points = _points(content["results"], group, nominal)
        if len(points) < 2:
            continue
        x = [amount for amount, _ in points]
        series = [_line("this bundle", points, 0)]
        if theirs:
            other = next(result for result in theirs if result["condition"]["group"] == "nominal")
            series.append(_line("the other bundle", _points(theirs, group, other), 1))
        series.append(Series("random actions", [x[0], x[-1]], [random["mean"]] * 2, style="reference"))
        up_to = content["criteria"]["ladders"][group]["up_to"]
        caption = f"Mean and 95 % interval; 0 is the nominal robot. Judged up to {number(up_to)}."
        section.chart(Chart(title, label, "return of an episode", series, caption))
    if not section.blocks:
        section.say("The criteria have no points on any ladder that this robot can stand on.", "missing")
    return section


def _points(results: Sequence[dict[str, Any]], group: str, nominal: dict[str, Any]) -> list[tuple[float, Any]]:
    found = [(float(r["condition"]["amount"]), r) for r in results if r["condition"]["group"] == group]
    return sorted([(0.0, nominal), *found], key=lambda point: point[0])


def _line(label: str, points: Sequence[tuple[float, Any]], colour: int) -> Series:
    low, high = zip(*(result["interval"] for _, result in points), strict=True)
    return Series(label, [x for x, _ in points], [r["mean"] for _, r in points], low, high, colour=colour)


def _draws(content: dict[str, Any]) -> Section:
    section = Section("variation", "Variation", "Which draws hurt?")
    random = _of(content, "random")
    for result in content["results"]:
        condition, drawn = result["condition"], result["drawn"]
        if condition["group"] != "each" or len(drawn) != len(result["returns"]):
            continue
        x = [_middle({k: v for k, v in entry.items() if k != "events"}) for entry in drawn]
        ends = [min(x), max(x)]
        section.chart(
            Chart(
                condition["name"],
                "what was drawn, mean over its names",
                "return of an episode",
                [
                    Series("episode", x, result["returns"], style="dots", colour=0),
                    Series("random actions", ends, [random["mean"]] * 2, style="reference"),
                ],
                _range(condition),
                missing="nothing is drawn once an episode",
            )
        )
    if not section.blocks:
        section.say("Nothing varies alone.", "missing")
    return section


def _middle(drawn: Any) -> float:
    """Mean of all numbers in a tree of what was drawn; not finite for none."""
    found: list[float] = []

    def walk(part: Any) -> None:
        if isinstance(part, int | float):
            found.append(float(part))
        for entry in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            walk(entry)

    walk(drawn)
    return float(np.mean(found)) if found else float("nan")


def _range(condition: dict[str, Any]) -> str:
    rows = [f"{row.get('of', '*')}: {row['range'][0]:.4g} to {row['range'][1]:.4g}" for row in condition["vary"]]
    late = [f"{who} {lag}" for who, lag in condition["delay"].items()]
    return "Drawn once an episode: " + "; ".join([*rows, *late]) + "."


def _against(content: dict[str, Any]) -> Section:
    other = content["against"]["bundle"]
    lead = f"Is it better than {other['file']} (bundle {other['version']}, sha256 {other['sha256'][:12]}…)?"
    section = Section("against", "Comparison", lead)
    rows = []
    for entry in content["against"]["differences"]:
        low, high = entry["interval"]
        words = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
        rows.append([entry["condition"], f"{entry['mean']:+.4g}", f"{low:+.4g} to {high:+.4g}", words])
    caption = "Return of this bundle less that of the other, on the same seeds. It does not count for the verdict."
    section.blocks.append(Table("Difference, paired by seed", ["condition", "mean", "95 %", ""], rows, caption))
    return section


def _film(content: dict[str, Any], folder: Path) -> Section:
    film = content["film"]
    section = Section("film", "The worst episode", f"{film['condition']}, seed {film['seed']}: {film['return']:.4g}")
    path = folder / film["file"]
    if path.stat().st_size > FILM_LIMIT:
        section.say(f"{path.name} is too large for this page; it is beside it.", "missing")
    else:
        uri = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
        caption = "Beside the robot what its policy sees, below value and surprise."
        section.blocks.append(Movie(f"{film['condition']}, seed {film['seed']}", uri, caption))
    return section


def _setup(content: dict[str, Any]) -> Section:
    section = Section("setup", "Setup", "What was asked?")
    text = json.dumps(content["criteria"], indent=2)
    section.blocks.append(Code("criteria", text, folded=True))
    spreads = [[name, number(spread)] for name, spread in content["spreads"].items()]
    caption = "Standard deviation in an episode of random actions, in the units of the topic; noise counts in it."
    section.blocks.append(Table("Spread of sensors", ["field", "spread"], spreads, caption))
    section.blocks.append(Code("sha256 of the bundle", content["bundle"]["sha256"]))
    return section


def _of(content: dict[str, Any], group: str) -> dict[str, Any]:
    found: dict[str, Any] = next(r for r in content["results"] if r["condition"]["group"] == group)
    return found


def _interval(result: dict[str, Any]) -> str:
    low, high = result["interval"]
    return f"{number(low)} to {number(high)}"
