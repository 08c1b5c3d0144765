"""Try a bundle under all that a robot may do to it, and say yes or no.

robot-dreamer gate --bundle runs/cartpole/policy.bundle --robot cartpole --criteria gate.yaml
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import robot_dreamer
from robot_dreamer.durable import sha256_of
from robot_dreamer.endings import ended_by
from robot_dreamer.onboard.bundle import Bundle, BundleError, read_bundle, spec_for
from robot_dreamer.onboard.proof import prove
from robot_dreamer.onboard.verdict import Verdict, write_verdict
from robot_dreamer.report.charts import number
from robot_dreamer.report.console import plain_console
from robot_dreamer.report.gate import FILM, GATE_FILE, write_gate_page
from robot_dreamer.settings.gate import GateSettings
from robot_dreamer.settings.setting import add_options
from robot_dreamer.spec import RobotSpec
from sim.film import Film
from sim.gate.conditions import Plan, plan
from sim.gate.criteria import Criteria, load_criteria
from sim.gate.judge import Check, Result, differences, judge, results, worst_first
from sim.gate.trial import Bench, Trial, run_trials

FORMAT = 1  # of gate.json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_options(parser, GateSettings)


def run(args: argparse.Namespace) -> int:
    """Try, judge, write. Returns 0 if the bundle passed, 1 if not."""
    settings = GateSettings(**{entry.name: getattr(args, entry.name) for entry in fields(GateSettings)})
    assert settings.bundle is not None  # the settings have seen to it
    criteria, spec = load_criteria(settings.criteria), spec_for(settings.robot, settings.bundle)
    paths = [settings.bundle, *([settings.against] if settings.against else [])]
    hashes, bundles = zip(*(_proven(path, spec) for path in paths), strict=True)
    planned = plan(spec, criteria)
    folder = settings.output or settings.bundle.with_name(f"{settings.bundle.name}.gate")
    folder.mkdir(parents=True, exist_ok=True)  # where nothing can be written, nothing is tried
    notes, film = list(planned.notes), None
    with ended_by(signal.default_int_handler), _copies(paths, hashes) as copies:
        found = _try(settings, criteria, planned, copies)
        if settings.film:
            film = _film(folder / FILM, settings.robot, copies[0], criteria, spec, found[0], notes)
    checks = judge(found[0], criteria)
    failed = [check for check in checks if not check.passed]
    content: dict[str, Any] = {
        "format": FORMAT,
        "passed": not failed,
        "robot": spec.name,
        "spec_hash": spec.hash,
        "bundle": _told(settings.bundle, hashes[0], bundles[0]),
        "criteria": msgspec.to_builtins(criteria),
        "seeds": _seeds(criteria),
        "spreads": planned.spreads,
        "notes": notes,
        "checks": [asdict(check) for check in checks],
        "results": [asdict(result) for result in found[0]],
        "film": film,
        "against": None,
    }
    if settings.against is not None:
        content["against"] = {
            "bundle": _told(settings.against, hashes[1], bundles[1]),
            "results": [asdict(result) for result in found[1]],
            "differences": [asdict(difference) for difference in differences(*found)],
        }
    written = [folder / GATE_FILE]
    written[0].write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    written.append(write_gate_page(folder))
    written.append(write_verdict(settings.bundle, _verdict(content, failed)))
    console = plain_console()
    console.print(_table(content["bundle"], found[0], checks, criteria))
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)
    for path in written:
        print(f"written: {path}")
    for check in failed:
        print(f"not met: {_words(check)}", file=sys.stderr)
    print("passed" if not failed else f"not passed: {len(failed)} of {len(checks)} criteria are not met")
    return 1 if failed else 0


def _proven(path: Path, spec: RobotSpec) -> tuple[str, Bundle]:
    """sha256 and content of a bundle that has replayed its recording. Raises BundleError."""
    bundle = read_bundle(path, spec)
    prove(path, bundle)
    return sha256_of(path), bundle


@contextmanager
def _copies(paths: Sequence[Path], hashes: Sequence[str]) -> Iterator[list[Path]]:
    """The bundles where nobody touches them: a learner removes its old ones while they are tried."""
    with tempfile.TemporaryDirectory(prefix="robot_dreamer-") as folder:
        copies = [Path(folder) / f"{number}.bundle" for number in range(len(paths))]
        for path, copy, expected in zip(paths, copies, hashes, strict=True):
            shutil.copyfile(path, copy)
            if sha256_of(copy) != expected:
                raise BundleError(f"bundle {path} was replaced while it was read: try it again")
        yield copies


def _seeds(criteria: Criteria) -> list[int]:
    return [criteria.seed + i for i in range(criteria.episodes)]


def _try(settings: GateSettings, criteria: Criteria, planned: Plan, paths: Sequence[Path]) -> list[list[Result]]:
    """Results of each bundle, by condition."""
    conditions = planned.conditions
    trials: list[Trial] = [(number, condition) for number in range(len(paths)) for condition in conditions]
    jobs = min(settings.jobs or os.cpu_count() or 1, len(trials))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=plain_console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"conditions, {criteria.episodes} episodes each", total=len(trials))
        episodes = run_trials(settings.robot, paths, _seeds(criteria), trials, jobs, lambda: bar.advance(task))
    size = len(conditions)
    return [results(conditions, episodes[i * size : (i + 1) * size], criteria.success) for i in range(len(paths))]


def _film(
    path: Path,
    robot: str,
    bundle: Path,
    criteria: Criteria,
    spec: RobotSpec,
    found: list[Result],
    notes: list[str],
) -> dict[str, Any] | None:
    """Film the worst episode of the worst condition; what it shows, or a note why there is no film."""
    worst, seeds = worst_first(found)[0], _seeds(criteria)
    seed = seeds[worst.returns.index(min(worst.returns))]
    bench = Bench(robot, [bundle], seeds)
    try:
        with Film(path, spec) as film:
            episode = bench.show((0, worst.condition), seed, film.watch)
    except (ValueError, RuntimeError, OSError) as error:  # no ffmpeg, it died, or nothing can be rendered here
        notes.append(f"the worst episode is not filmed: {error}")
        path.unlink(missing_ok=True)
        return None
    return {"file": path.name, "condition": worst.condition.name, "seed": seed, "return": episode.score}


def _told(path: Path, sha256: str, bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    known = {"version": manifest.version, "lineage": manifest.lineage, "algorithm": manifest.algorithm}
    return {"file": path.name, "sha256": sha256, **known}


def _verdict(content: dict[str, Any], failed: Sequence[Check]) -> Verdict:
    criteria = json.dumps(content["criteria"], sort_keys=True).encode()
    return Verdict(
        passed=content["passed"],
        bundle_sha256=content["bundle"]["sha256"],
        robot=content["robot"],
        spec_hash=content["spec_hash"],
        criteria_sha256=hashlib.sha256(criteria).hexdigest(),
        failed=tuple(_words(check) for check in failed),
        program=f"robot_dreamer {robot_dreamer.__version__}",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _words(check: Check) -> str:
    found = "nothing that could be compared" if check.found is None else f"{check.found:.4g}"
    return f"{check.condition}: {check.criterion} {check.wanted:.4g}, found {found}"


def _table(bundle: dict[str, Any], found: Sequence[Result], checks: Sequence[Check], criteria: Criteria) -> Table:
    last = criteria.seed + criteria.episodes - 1
    table = Table(
        title=f"bundle {bundle['version']}: {criteria.episodes} episodes each, seeds {criteria.seed} to {last}"
    )
    table.caption = "worst first; share: of nominal's return above random actions; 95 % intervals"
    table.add_column("condition")  # the one that may wrap: numbers must not be cut
    for column in ("return", "95 % interval", "share", "faults"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for result in worst_first(found):
        mine = [check.passed for check in checks if check.condition == result.condition.name]
        table.add_row(
            result.condition.name,
            number(result.mean),
            " to ".join(map(number, result.interval)),
            "–" if result.share is None else f"{result.share:.2f}",
            str(sum(result.faults.values())),
            "shown" if not mine else "met" if all(mine) else "NOT MET",
        )
    return table
