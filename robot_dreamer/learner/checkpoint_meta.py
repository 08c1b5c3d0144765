"""meta.json of a checkpoint: everything but the tensors, as a struct. What does not fit it is no checkpoint."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from robot_dreamer.config import Config
from robot_dreamer.spec import RobotSpec, SpecError

FORMAT = 2
FOLDER, META = "checkpoints", "meta.json"  # of checkpoints, below a run's log directory; in each of them
_log = logging.getLogger(__name__)


class TornCheckpointMeta(ValueError):
    """meta.json is damaged, or is not one; the message says where."""


class TensorsFile(msgspec.Struct, frozen=True):
    """What the file of tensors must be."""

    bytes: int
    sha256: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run is: what it states of itself, and needs beside the tensors to go on.

    Attributes:
      training_step: updates that were applied; skipped: those that were not finite.
      env_step: rows of experience, read from the store up to `cursor`; last_row: which one that is, see last_row.py.
      lineage: id of the experience store, which bundles are told by.
      credit: updates that the experience has paid for and that were not made.
      training_seconds: over all starts.
      given: the first parameters came from another run.
      replay: the sampler's state, see `Replay.state`.
      discarded: episodes left out, see `Discards.applied`.
      latents: segments with the replay's latents, see `LatentLog.write`.
    """

    training_step: int
    env_step: int
    lineage: str = ""
    skipped: int = 0
    cursor: int = 0
    last_row: str = ""
    credit: float = 0.0
    training_seconds: float = 0.0
    given: bool = False
    replay: dict[str, Any] = {}
    discarded: list[tuple[int, int]] = []
    latents: list[dict[str, Any]] = []


class CheckpointMeta(Progress, frozen=True, kw_only=True):
    """All of meta.json. Made by `read_meta`, which checks it.

    Attributes:
      spec: the robot that it was made for; spec_hash is its hash.
      config: `Config.to_dict` of what the agent was built from.
    """

    format: int
    spec: RobotSpec
    spec_hash: str
    config: dict[str, Any]
    tensors: TensorsFile

    def configuration(self) -> Config:
        """What the agent was built from."""
        return Config.from_dict(self.config)


def meta_json(progress: Progress, spec: RobotSpec, config: Config, tensors: TensorsFile) -> str:
    """The text of meta.json."""
    whole = {
        **msgspec.to_builtins(progress),
        "format": FORMAT,
        "spec": json.loads(spec.to_json()),
        "spec_hash": spec.hash,
        "config": config.to_dict(),
        "tensors": msgspec.to_builtins(tensors),
    }
    return json.dumps(whole, indent=1)


def read_meta(path: Path) -> CheckpointMeta | int:
    """The content of a meta.json; of one of another format only the number of that.

    Raises:
      TornCheckpointMeta: it cannot be read, is no JSON, lacks something, or has something of another type.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        number = found["format"]
        if isinstance(number, int) and number != FORMAT:
            return number
        meta = msgspec.convert(found, CheckpointMeta)
        meta.configuration()
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SpecError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise TornCheckpointMeta(f"{path} is missing or broken ({reason})") from error
    return meta


def numbered(directory: Path) -> list[Path]:
    """Checkpoints of a folder, oldest first."""
    if not directory.is_dir():
        return []
    found = [entry for entry in directory.iterdir() if entry.is_dir() and entry.name.isdecimal()]
    return sorted(found, key=lambda entry: int(entry.name))


def metas(directory: Path) -> Iterator[CheckpointMeta | int]:
    """See `read_meta`: of each checkpoint of a folder that can be read, newest first; a warning names the others."""
    for folder in reversed(numbered(directory)):
        try:
            yield read_meta(folder / META)
        except TornCheckpointMeta as error:
            _log.warning("passing over a checkpoint: %s", error)


def newest_meta(logdir: Path) -> CheckpointMeta | None:
    """Of the newest checkpoint of a run that can be read, by this file alone; None if there is none of this format."""
    found = next(metas(logdir / FOLDER), None)
    return None if isinstance(found, int) else found
