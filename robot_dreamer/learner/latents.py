"""The replay's latents on disk, beside the checkpoints: each checkpoint writes only those that changed.

Latents are most of a replay (32 KiB a row at size 200m) and change with every update, so copying all of them each time
would cost gigabytes. They are written as segments, files that never change once written:

    checkpoints/latents/00000007.safetensors      slots, and the latents of these slots

A checkpoint names the segments that it needs, oldest first; a later segment overrides an earlier one. A segment is on
disk before the checkpoint that names it, and is deleted when no kept checkpoint names it any more; so a crash at any
moment leaves every checkpoint whole. As in a log-structured file system, the segments with the fewest living latents
are written anew when more than half of what is stored is overridden: what is written stays below twice of what changed,
and the segments of one checkpoint hold at most twice as many rows as the replay.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from robot_dreamer.durable import sync
from robot_dreamer.learner.replay import Replay
from robot_dreamer.numbered_files import number_of, numbered_files

LATENTS = "latents"  # folder below that of the checkpoints
_SEGMENT = ".safetensors"  # behind its number
_SEGMENT_BYTES = 64_000_000
_CHANGED = -1


class DamagedLatents(RuntimeError):
    """A segment is missing, damaged, or does not fit the replay; the message names it."""


class LatentLog:
    """Writes and reads the latents of one replay.

    Args:
      directory: the folder of segments; made if absent.
      replay: whose latents they are.
    """

    def __init__(self, directory: Path, replay: Replay) -> None:
        self._directory, self._replay = directory, replay
        self._holder = np.full(replay.capacity, _CHANGED, np.int32)  # by slot: the segment with its newest latents
        self._segments: dict[int, dict[str, Any]] = {}  # by number: name, rows, sha256; what a checkpoint states

    def write(self) -> list[dict[str, Any]]:
        """Put what changed on disk, durably; returns the segments that hold all latents now, for a checkpoint."""
        self._directory.mkdir(parents=True, exist_ok=True)
        replay = self._replay
        self._holder[replay.changed] = _CHANGED
        self._make_room()
        number = max(map(number_of, numbered_files(self._directory, "", _SEGMENT)), default=0)
        slots = np.flatnonzero(self._holder[: len(replay)] == _CHANGED)
        row_bytes = sum(column[0].nbytes for column in replay.latents.values())
        for part in np.array_split(slots, -(-len(slots) * row_bytes // _SEGMENT_BYTES)) if len(slots) else []:
            number += 1
            self._write_segment(number, part)
        return list(self._segments.values())

    def _make_room(self) -> None:
        """Choose segments that go; their living latents count as changed."""
        size = len(self._replay)
        living = np.bincount(self._holder[self._holder != _CHANGED], minlength=max(self._segments, default=0) + 1)
        stored = size - int(living.sum()) + sum(segment["rows"] for segment in self._segments.values())
        for number in sorted(self._segments, key=lambda n: living[n] / self._segments[n]["rows"]):
            if living[number] and stored <= 2 * size:
                return
            stored -= self._segments.pop(number)["rows"] - int(living[number])
            self._holder[self._holder == number] = _CHANGED

    def _write_segment(self, number: int, slots: NDArray[np.int64]) -> None:
        path = self._directory / f"{number:08d}{_SEGMENT}"
        columns = {name: column[slots] for name, column in self._replay.latents.items()}
        content = safetensors.numpy.save({"slots": slots, **columns})
        with path.open("xb") as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                path.unlink()  # on a full disk each try would leave one
                raise
        sync(self._directory)
        digest = hashlib.sha256(content).hexdigest()
        self._segments[number] = {"name": path.name, "rows": len(slots), "sha256": digest}
        self._holder[slots] = number
        self._replay.changed[slots] = False

    def check(self, segments: Collection[dict[str, Any]]) -> None:
        """Raise DamagedLatents that names a segment which is not there as the checkpoint states it."""
        for segment in segments:
            self._read(segment)

    def load(self, segments: Collection[dict[str, Any]]) -> None:
        """Put latents back into a replay that holds the same rows again. Raises DamagedLatents."""
        replay = self._replay
        self._holder[:], self._segments = _CHANGED, {}
        for segment in segments:
            found = safetensors.numpy.load(self._read(segment))
            slots, number = found.pop("slots"), number_of(Path(segment["name"]))
            for name, column in replay.latents.items():
                column[slots] = found[name]
            self._segments[number] = segment
            self._holder[slots] = number
        if missing := int((self._holder[: len(replay)] == _CHANGED).sum()):
            raise DamagedLatents(f"the latents of {missing} rows are in none of the segments in {self._directory}")
        replay.changed[:] = False

    def _read(self, segment: dict[str, Any]) -> bytes:
        path = self._directory / segment["name"]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DamagedLatents(f"latents {path} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != segment["sha256"]:
            raise DamagedLatents(f"latents {path} are damaged: their sha256 is not the one that the checkpoint states")
        return content

    def delete_unused(self, checkpoints: Collection[Collection[dict[str, Any]]]) -> None:
        """Delete the segments that none of the kept checkpoints needs, each given as `write` returned it."""
        used = {segment["name"] for segments in [*checkpoints, self._segments.values()] for segment in segments}
        for path in numbered_files(self._directory, "", _SEGMENT):
            if path.name not in used:
                path.unlink()
