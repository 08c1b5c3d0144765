"""`robot-dreamer card`: the model card of a run."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from robot_dreamer.durable import replace_file, sha256_of
from robot_dreamer.json_bytes import decode_json
from robot_dreamer.onboard.verdict import Verdict
from robot_dreamer.report.card import UNSTATED, GateResult, card
from robot_dreamer.report.run_files import read_run

CARD_FILE = "README.md"  # as a repository of the hub shows it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("logdir", type=Path, help="log directory of a run")
    parser.add_argument("--output", type=Path, help=f"file to write; default: {CARD_FILE} in the log directory")
    parser.add_argument(
        "--license", type=_licence, default=UNSTATED, help="identifier as the hub knows it, such as apache-2.0"
    )


def run(args: argparse.Namespace) -> int:
    """Write the card; 0. Raises NoRun, and ValueError for files that cannot be read."""
    logdir = args.logdir
    output = args.output or logdir / CARD_FILE
    text = card(read_run(logdir), list(_gates(logdir / "bundles")), _sweep(logdir), args.license)
    replace_file(output, text.encode())
    print(output)
    return 0


def _gates(bundles: Path) -> Iterator[GateResult]:
    for path in sorted(bundles.glob("*.gate.json")):
        bundle = path.with_name(path.name.removesuffix(".gate.json"))
        try:
            verdict = decode_json(path.read_bytes(), Verdict)
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path} is no verdict of this version: {error}") from error
        there = bundle.exists()  # the oldest are deleted as training goes on
        same = not there or sha256_of(bundle) == verdict.bundle_sha256
        problem = "" if same else "is not the bundle that was tried"
        yield GateResult(bundle.name, verdict.passed, verdict.failed, verdict.created, problem, there)


def _sweep(logdir: Path) -> dict[str, Any]:
    """Of the sweep that the run belongs to."""
    logdir = logdir.resolve()  # `.` has no name
    path = logdir.parent / "sweep.json"
    if not logdir.name.startswith("seed-") or not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} cannot be read: expected an object, found {type(found).__name__}")
    values = found.get("values")
    ours = isinstance(values, dict) and logdir.name.removeprefix("seed-") in values
    return found if ours else {}  # it may be of later seeds with another budget


def _licence(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no identifier of a licence; examples: apache-2.0, mit")
    return text
