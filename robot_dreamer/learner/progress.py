"""What a run leaves for people to see: status.json (now), episodes.jsonl, metrics.jsonl and scores.csv, TensorBoard."""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.draws import Draws
from robot_dreamer.durable import replace_file
from robot_dreamer.learner.proven import Proven
from robot_dreamer.readable_lines import LineReader
from robot_dreamer.record import BY_PERSON, StepRecord
from robot_dreamer.succession import Succession

_log = logging.getLogger(__name__)
RUN_FILE = "run.json"  # what is trained in, the configuration, code and machine


def write_json_atomically(path: Path, value: Any) -> None:
    """Replace a JSON file so that a reader sees the old or the new one, not half of one; what is not finite is null."""
    replace_file(path, json.dumps(_finite(value), allow_nan=False).encode(), lasting=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def drop_torn_line(path: Path) -> None:
    """Cut a last line without its end, written when the power went, from a file of lines."""
    if path.exists() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _readable(path: Path, read: Callable[[bytes], int], skip: int = 0) -> list[int]:
    """What `read` makes of each line behind the first `skip`; lines that it cannot read are counted in a warning."""
    lines = path.read_bytes().splitlines()[skip:]
    reader = LineReader(read)
    found = list(reader.each(lines))
    if reader.unreadable:
        _log.warning("%s: %d of %d lines cannot be read and are left out", path, reader.unreadable, len(lines))
    return found


class ScoreLog:
    """Appends the return of each finished episode to scores.csv, in the columns of published score tables.

    A step is a step of the environment itself, action repeats included; the first row of an episode counts as one
    action, as it does in the published scores. A restarted learner does not write an episode twice.
    """

    COLUMNS = ("method", "task", "seed", "step", "score")

    def __init__(self, path: Path, method: str, task: str, seed: int, action_repeat: int) -> None:
        self._path, self._of, self._repeat = path, (method, task, seed), action_repeat
        drop_torn_line(path)
        if not path.exists() or not path.stat().st_size:
            self._write(self.COLUMNS)
        self._last = max(_readable(path, lambda line: int(line.split(b",")[3]), skip=1), default=-1)

    def add(self, env_step: int, score: float) -> None:
        """An episode that ended with row `env_step` of the run."""
        step = env_step * self._repeat
        if step > self._last:
            self._last = step
            self._write((*self._of, step, f"{score:.3f}"))

    def _write(self, values: tuple[object, ...]) -> None:
        with self._path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(values)


@dataclass(slots=True)
class _Running:
    """An episode that goes on.

    Attributes:
      drawn: for it.
      total, length: of its rewards, and in actions.
      led: by a person, for a while.
    """

    drawn: Draws
    total: float = 0.0
    length: int = 0
    led: bool = False

    def add(self, row: StepRecord) -> None:
        self.total += row.reward
        self.length += not row.is_first
        self.led |= row.policy_version in BY_PERSON


class EpisodeLog:
    """Sums rewards of the running episodes and appends each finished one to episodes.jsonl.

    A restarted learner reads its store again; episodes that the file already holds are not written twice. `scores` and
    `proven` are told of each finished episode too; `proven` not of those in which a person drove, for they say nothing
    of a bundle. Of one of which rows are missing (dropped by a full spool, rejected, left out) nobody knows the return:
    it does not count, as one that was cut.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.scores: ScoreLog | None = None
        self.proven: Proven | None = None
        self.returns: deque[float] = deque(maxlen=10)
        self.last_length = 0  # actions of the newest finished episode
        self.count = 0
        self._logged_until = 0
        drop_torn_line(path)
        if path.exists():
            self._logged_until = max(_readable(path, lambda line: int(json.loads(line)["env_step"])), default=0)
        self._successions: dict[tuple[str, str], Succession] = {}  # of each (robot, boot)
        self._running: dict[tuple[str, str], _Running] = {}

    def add(self, env_step: int, row: StepRecord) -> None:
        """Count one row; env_step is its number in the store."""
        stream = (row.robot, row.boot)
        succession = self._successions.setdefault(stream, Succession())
        succession.follow(row)
        if succession.begins:
            self._running[stream] = _Running(row.drawn)
        episode = self._running[stream]
        episode.add(row)
        if not (row.is_last and succession.whole):
            return
        self.count += 1
        self.returns.append(episode.total)
        self.last_length = episode.length
        if self.scores is not None:
            self.scores.add(env_step, episode.total)
        if self.proven is not None and not episode.led:
            self.proven.add(row.policy_version, episode.total)
        if env_step > self._logged_until:
            entry = {
                "env_step": env_step,
                "robot": row.robot,
                "return": episode.total,
                "length": episode.length,
                "policy_version": row.policy_version,
                "time": time.time(),
                **({"drawn": episode.drawn} if episode.drawn else {}),
            }
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")


class MetricsLog:
    """Appends learner metrics to metrics.jsonl and, where it is installed, TensorBoard; robots to robots.jsonl.

    by_updates: TensorBoard counts along updates, as no experience comes.
    """

    def __init__(self, logdir: Path, by_updates: bool = False) -> None:
        self._robots, self._by_updates = logdir / "robots.jsonl", by_updates
        for path in (self._robots, logdir / "metrics.jsonl"):
            drop_torn_line(path)
        self._file = (logdir / "metrics.jsonl").open("a")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._board = None
        else:
            self._board = SummaryWriter(str(logdir / "tensorboard"))

    def write(self, env_step: int, update: int, metrics: dict[str, float]) -> None:
        self._file.write(json.dumps({"env_step": env_step, "update": update, "time": time.time(), **metrics}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in metrics.items():
                self._board.add_scalar(name, value, update if self._by_updates else env_step)

    def show(self, env_step: int, update: int, pictures: dict[str, NDArray[np.uint8]]) -> None:
        """Pictures (height, width, 1 or 3) by name, for TensorBoard."""
        if self._board is not None:
            for name, picture in pictures.items():
                self._board.add_image(name, picture, update if self._by_updates else env_step, dataformats="HWC")

    def write_robots(self, env_step: int, robots: list[dict[str, Any]]) -> None:
        """What the link knows of each robot, see `RobotStatus`; nothing where there is none."""
        if robots:
            with self._robots.open("a") as file:
                file.write(json.dumps({"env_step": env_step, "time": time.time(), "robots": robots}) + "\n")

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


class Rate:
    """Events per second over the last `window` seconds."""

    def __init__(self, window: float = 15.0) -> None:
        self._window = window
        self.last = 0.0
        self._points: deque[tuple[float, int]] = deque()

    def update(self, total: int) -> float:
        now = time.monotonic()
        self._points.append((now, total))
        while len(self._points) > 2 and now - self._points[0][0] > self._window:
            self._points.popleft()
        then, before = self._points[0]
        span = now - then
        self.last = (total - before) / span if span > 0 else 0.0
        return self.last
