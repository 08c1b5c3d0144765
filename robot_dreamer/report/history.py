"""What a run has written about its episodes: episodes.jsonl, every finished one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from robot_dreamer.draws import Draws, numbers_of
from robot_dreamer.readable_lines import LineReader


@dataclass(frozen=True)
class FinishedEpisode:
    """One finished episode.

    Attributes:
      env_step: the environment step at its end.
      total: its return.
      policy_version: that acted at its end; see `StepRecord`.
      length: in actions; 0 where a file of an older version does not say.
      time: seconds since 1970 when it arrived; 0 likewise.
      drawn: the numbers of what was drawn for it, by name, see `numbers_of`; empty where nobody said so.
      robot: whose it was.
    """

    env_step: int
    total: float
    policy_version: int
    length: int = 0
    time: float = 0.0
    drawn: dict[str, float] = field(default_factory=dict)
    robot: str = ""


class EpisodeReader:
    """Reads episodes.jsonl as it grows. A line without its end is still being written and is left for later."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._lines = LineReader(_episode)
        self.episodes: list[FinishedEpisode] = []

    @property
    def unreadable(self) -> int:
        """Lines that were torn when the power went, or damaged since."""
        return self._lines.unreadable

    def read(self) -> list[FinishedEpisode]:
        """All episodes so far, in the order of the file."""
        if not self._path.exists():
            return self.episodes
        with self._path.open("rb") as file:
            file.seek(self._offset)
            self.episodes += self._lines.each(self._whole(file))
        return self.episodes

    def _whole(self, file: BinaryIO) -> Iterator[bytes]:
        for line in file:
            if not line.endswith(b"\n"):
                return
            self._offset += len(line)
            yield line


def _episode(line: bytes) -> FinishedEpisode:
    entry = json.loads(line)
    what = int(entry["env_step"]), float(entry["return"]), int(entry["policy_version"])
    more = int(entry.get("length", 0)), float(entry.get("time", 0.0))
    drawn = dict(numbers_of(msgspec.convert(entry["drawn"], Draws))) if "drawn" in entry else {}
    return FinishedEpisode(*what, *more, drawn, str(entry.get("robot", "")))
