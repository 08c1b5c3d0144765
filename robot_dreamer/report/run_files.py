"""What a log directory holds of a run, read without torch; what is not there is missing by name."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from robot_dreamer.bundle_names import newest_version
from robot_dreamer.numbered_files import number_of, numbered_files
from robot_dreamer.readable_lines import LineReader
from robot_dreamer.record import Arrays
from robot_dreamer.report.figures import number
from robot_dreamer.report.history import EpisodeReader, FinishedEpisode
from robot_dreamer.report.thinned import Thinned
from robot_dreamer.run_status import RunStatus, read_status
from robot_dreamer.spec import RobotSpec

RUN_FILE, COMMANDS_FILE, EVALUATION_FILE = "run.json", "commands.jsonl", "evaluation.json"
_PORTRAITS, _PORTRAIT = "portraits", "portrait-"
ROBOT_NUMBERS = ("loop_misses", "bundle_version", "bundle_age_s", "spooled", "round_trip")  # followed over a run
_DATES = ("env_step", "update", "time")  # of a line of metrics.jsonl


class NoRun(ValueError):
    """A log directory that is none."""


@dataclass
class RunFiles:
    """A run as its files tell it.

    Attributes:
      missing: sentences about what is not there, or cannot be read.
      run: run.json: configuration, code, machine.
      metrics: the numbers of metrics.jsonl by name: (environment step, value) of each line that has it; of a run that
        is `offline`, which makes no steps, (updates, value).
      robots: of robots.jsonl, by robot: seconds since 1970, and those of ROBOT_NUMBERS that it had.
      evaluation: evaluation.json; empty where the run went on since.
      went_on: it did since its evaluation, and the film with it, were made.
      commands: lines of commands.jsonl.
      portraits: files, in the order of training.
    """

    logdir: Path
    missing: list[str] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    spec: RobotSpec | None = None
    status: RunStatus | None = None
    episodes: list[FinishedEpisode] = field(default_factory=list)
    metrics: dict[str, Thinned[tuple[int, float]]] = field(default_factory=dict)
    robots: dict[str, Thinned[tuple[float, dict[str, float]]]] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    went_on: bool = False
    commands: list[dict[str, Any]] = field(default_factory=list)
    portraits: list[Path] = field(default_factory=list)

    @property
    def config(self) -> dict[str, Any]:
        """The training configuration; empty where it is not known."""
        found: dict[str, Any] = self.run.get("config", {})
        return found

    @property
    def offline(self) -> bool:
        """It learns from rows that were there before it: no experience comes."""
        return self.status is not None and self.status.train_ratio is None

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Environment steps, or updates, and values of a number in metrics.jsonl; empty if it is not there."""
        found = self.metrics[name].kept if name in self.metrics else []
        return [step for step, _ in found], [value for _, value in found]

    def names(self, prefix: str) -> list[str]:
        """Names of the numbers in metrics.jsonl that begin so."""
        return sorted(name for name in self.metrics if name.startswith(prefix))

    def portrait(self, index: int = -1) -> Arrays:
        """The arrays of a portrait file; empty if there is none, or it is damaged."""
        if not self.portraits:
            return {}
        path = self.portraits[index]
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            self.note(f"{path.name} cannot be read: {error}")
            return {}

    def note(self, sentence: str) -> None:
        """Say once that something is missing."""
        if sentence not in self.missing:
            self.missing.append(sentence)


def read_run(logdir: Path) -> RunFiles:
    """Read what there is. Raises NoRun if the folder holds nothing of a run."""
    if not logdir.is_dir():
        raise NoRun(f"{logdir}: expected the log directory of a run, found no such folder")
    known = ("status.json", "episodes.jsonl", "metrics.jsonl", "checkpoints", "experience.sqlite", RUN_FILE)
    if not any((logdir / name).exists() for name in known):
        raise NoRun(f"{logdir}: expected the log directory of a run, found none of {', '.join(known)} in it")
    files = RunFiles(logdir)
    _read_status(files)
    reader = EpisodeReader(logdir / "episodes.jsonl")
    files.episodes = reader.read()
    if reader.unreadable:
        files.note(f"episodes.jsonl: {reader.unreadable} lines cannot be read")
    if not files.episodes:
        files.note("episodes.jsonl: no episode has ended yet")
    _read_metrics(files)
    _read_robots(files)
    files.commands = list(_lines(files, COMMANDS_FILE))
    _read_evaluation(files)
    files.run = _object(files, RUN_FILE, needed=False)
    _read_contract(files)
    # A crash loses the updates behind the last checkpoint, and leaves the portraits of them.
    made = math.inf if files.status is None else files.status.updates
    files.portraits = [path for path in portrait_files(logdir) if number_of(path) <= made]
    if not files.portraits:
        files.note("portraits: none yet, so nothing can be said of what the model sees and dreams")
    return files


def portrait_files(logdir: Path) -> list[Path]:
    """What the learner has drawn, in the order of training."""
    return numbered_files(logdir / _PORTRAITS, _PORTRAIT, ".npz")


def portrait_path(logdir: Path, update: int) -> Path:
    """Where it draws after so many updates."""
    return logdir / _PORTRAITS / f"{_PORTRAIT}{update:08d}.npz"


def _read_status(files: RunFiles) -> None:
    try:
        files.status = read_status(files.logdir)
    except ValueError as error:
        files.note(str(error))
        return
    if files.status is None:
        files.note("status.json: not there; the learner has not begun, or the run is of another version")
    elif not files.status.over:
        files.note(f"the run is going on, or was killed; its last word was: {files.status.phase}")


def _read_metrics(files: RunFiles) -> None:
    for line in _lines(files, "metrics.jsonl"):
        step: Any = line.get("update" if files.offline else "env_step")
        for name, value in line.items() if _is_number(step) else ():
            if name not in _DATES and _is_number(value):
                files.metrics.setdefault(name, Thinned()).add((step, float(value)))
    if not files.metrics:
        files.note("metrics.jsonl: no losses yet: no update has been made, or the run is of another version")
    _tell_thinned(files, "metrics.jsonl", files.metrics.values())


def _read_robots(files: RunFiles) -> None:
    for line in _lines(files, "robots.jsonl"):
        time: Any = line.get("time")
        robots = line.get("robots")
        for robot in robots if _is_number(time) and isinstance(robots, list) else ():
            found = robot.get("figures", {}) | robot
            numbers = {name: float(found[name]) for name in ROBOT_NUMBERS if _is_number(found.get(name))}
            files.robots.setdefault(str(robot.get("robot")), Thinned()).add((time, numbers))
    _tell_thinned(files, "robots.jsonl", files.robots.values())


def _tell_thinned(files: RunFiles, name: str, found: Iterable[Thinned[Any]]) -> None:
    every = max((one.every for one in found), default=1)
    if every > 1:
        files.note(f"{name} is long: the page shows one in {every} of its numbers")


def _read_evaluation(files: RunFiles) -> None:
    newest = newest_version(files.logdir)  # before it is read: it may be replaced meanwhile
    found = _object(files, EVALUATION_FILE, needed=False)
    files.went_on = newest > _newest_then(found)
    if files.went_on:
        files.note(f"{EVALUATION_FILE}: of the run before it went on; `robot-dreamer evaluate --output` makes another")
    else:
        files.evaluation = found


def _newest_then(evaluation: Mapping[str, Any]) -> float:
    """The newest bundle when an evaluation was made. One of an older version, which did not note it, counts as today's:
    the bundle that it tried was the best of the last ones, and seldom the newest.
    """
    noted = number(evaluation.get("newest_bundle"))
    return math.inf if noted is None else noted


def _read_contract(files: RunFiles) -> None:
    """Robot and configuration: from run.json, or of a run before there was one from its newest checkpoint."""
    if "spec" not in files.run or "config" not in files.run:
        for path in sorted((files.logdir / "checkpoints").glob("*/meta.json"), reverse=True):
            meta = _object(files, str(path.relative_to(files.logdir)))
            found = {name: meta[name] for name in ("spec", "config") if isinstance(meta.get(name), dict)}
            files.run = found | files.run
            break
    if not files.config:
        files.note("run.json: the configuration of the run is not known")
    if "spec" not in files.run:
        files.note("run.json: the robot of the run is not known, so names and units of its sensors are missing")
        return
    try:
        files.spec = msgspec.convert(files.run["spec"], RobotSpec)
    except (msgspec.ValidationError, ValueError) as error:
        files.note(f"run.json: the robot is not one of this version: {error}")


def _object(files: RunFiles, name: str, needed: bool = True) -> dict[str, Any]:
    path = files.logdir / name
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if needed:
            files.note(f"{name}: not there")
        return {}
    except (OSError, ValueError, RecursionError) as error:
        files.note(f"{name} cannot be read: {error}")
        return {}
    if not isinstance(found, dict):
        files.note(f"{name} cannot be read: expected an object, found {type(found).__name__}")
        return {}
    return found


def _lines(files: RunFiles, name: str) -> Iterator[dict[str, Any]]:
    """Line by line: the files of a run of weeks do not fit into the memory that training leaves."""
    path, reader = files.logdir / name, LineReader(_entry)
    if not path.exists():
        return
    with path.open("rb") as file:
        yield from reader.each(file)
    if reader.unreadable:
        files.note(f"{name}: {reader.unreadable} lines cannot be read")


def _entry(line: bytes) -> dict[str, Any]:
    found = json.loads(line)
    if not isinstance(found, dict):
        raise TypeError(f"expected an object, found {type(found).__name__}")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
