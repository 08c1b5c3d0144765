"""What a run has written about its episodes: episodes.jsonl, every finished one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from robot_dreamer.draws import Draws, numbers_of


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
        self.episodes: list[FinishedEpisode] = []
        self.unreadable = 0  # lines that were torn when the power went

    def read(self) -> list[FinishedEpisode]:
        """All episodes so far, in the order of the file."""
        if not self._path.exists():
            return self.episodes
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                try:
                    entry = json.loads(line)
                    what = int(entry["env_step"]), float(entry["return"]), int(entry["policy_version"])
                    more = int(entry.get("length", 0)), float(entry.get("time", 0.0))
                    drawn = dict(numbers_of(msgspec.convert(entry["drawn"], Draws))) if "drawn" in entry else {}
                    episode = FinishedEpisode(*what, *more, drawn, str(entry.get("robot", "")))
                except (ValueError, KeyError, TypeError):
                    self.unreadable += 1
                else:
                    self.episodes.append(episode)
        return self.episodes
