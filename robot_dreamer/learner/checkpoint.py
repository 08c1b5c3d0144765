"""Checkpoints: safetensors for the numbers, JSON for the rest; a crash never loses the last good one.

A checkpoint is a numbered folder:

    checkpoints/00000007/tensors.safetensors
    checkpoints/00000007/meta.json

`meta.json` holds format, spec and its hash, configuration, size and sha256 of the tensors file, and what the caller
gave. The folder is written under another name, synced to disk, and renamed as the last step; so a folder with a number
is whole, unless the disk itself lies, which size and sha256 find out at loading. Nothing is ever unpickled. The
latents of the replay are beside these folders (`latents.py`): an export does not need them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
import torch

from robot_dreamer.config import Config, differences
from robot_dreamer.durable import sync
from robot_dreamer.spec import RobotSpec, require_same_spec

FORMAT = 2
FOLDER = "checkpoints"  # below a run's log directory
RECENT = "recent/"  # prefix: what one robot saw and did last, as observation/<name>, action/<name>, is_first
_TENSORS, _META = "tensors.safetensors", "meta.json"
_WRITING = ".writing-"
_OWN_KEYS = ("format", "spec", "spec_hash", "config", "tensors")
_CALLER_KEYS = ("agent", "training_step", "env_step", "lineage")

_log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """No usable checkpoint, or one that was made for something else; the message says which, and what to do."""


class TornCheckpoint(CheckpointError):
    """A checkpoint is incomplete or damaged; an older one may still be good."""


def save_checkpoint(
    directory: str | Path,
    tensors: Mapping[str, torch.Tensor],
    meta: Mapping[str, Any],
    *,
    spec: RobotSpec,
    config: Config,
    keep: int = 3,
) -> Path:
    """Write the next checkpoint into `directory`, durably and atomically, and delete all but the newest `keep`.

    Args:
      directory: the folder of numbered checkpoints; made if absent.
      tensors: by name, any dtype and device; those of the agent begin with `agent/`, so that an export finds them.
      meta: JSON types; at least `agent` (the other half of `Agent.training_state()`), `training_step`, `env_step` and
        `lineage` (id of the experience store, which bundles are told by).
      spec: the robot, or the environment described as one.
      config: what the agent was built from.

    Returns the new checkpoint's folder. Raises ValueError for a bad `meta`, OSError if the disk refuses; the older
    checkpoints are untouched then.
    """
    _require_meta(meta)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob(f"{_WRITING}*"):
        _log.warning("removing %s: left behind by a write that did not finish", leftover)
        shutil.rmtree(leftover)
    number = max((int(folder.name) for folder in _numbered(directory)), default=0) + 1
    final, temporary = directory / f"{number:08d}", directory / f"{_WRITING}{number:08d}"
    temporary.mkdir()
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(on_cpu, temporary / _TENSORS)
    whole = {
        **meta,
        "format": FORMAT,
        "spec": json.loads(spec.to_json()),
        "spec_hash": spec.hash,
        "config": config.to_dict(),
        "tensors": {"bytes": (temporary / _TENSORS).stat().st_size, "sha256": _sha256(temporary / _TENSORS)},
    }
    (temporary / _META).write_text(json.dumps(whole, indent=1))
    for path in (temporary / _TENSORS, temporary / _META, temporary):
        sync(path)
    temporary.rename(final)
    sync(directory)
    for old in _numbered(directory)[:-keep]:
        shutil.rmtree(old)
    return final


def load_checkpoint(
    path: str | Path,
    *,
    spec: RobotSpec | None = None,
    config: Config | None = None,
    check: Callable[[dict[str, Any]], None] = lambda meta: None,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Load one checkpoint: (tensors on the CPU by name, meta as saved).

    Args:
      path: a checkpoint, a folder of them (the newest whole one is taken), or a log directory with such a folder.
      spec: refuse a checkpoint of another robot.
      config: refuse a checkpoint of another model or preset; warn where single settings differ.
      check: given the meta; raises TornCheckpoint if what the caller needs beside the checkpoint is not whole.

    A torn checkpoint in a folder of several is skipped with a warning that names it. Raises CheckpointError if nothing
    usable is left or model or preset is another one, SpecMismatch if the robot is.
    """
    path = Path(path)
    candidates = [path] if _is_checkpoint(path) else _numbered(path) or _numbered(path / FOLDER)
    if not candidates:
        expected = f"expected a checkpoint, a folder of checkpoints, or a log directory with {FOLDER}/"
        raise CheckpointError(f"no checkpoint in {path}: {expected}")
    for candidate in reversed(candidates):
        try:
            tensors, meta = _read(candidate)
            _require_same(candidate, meta, spec, config)
            check(meta)
        except TornCheckpoint as error:
            if len(candidates) == 1:
                raise
            _log.warning("skipping %s; trying the one before", error)
            continue
        return tensors, meta
    raise CheckpointError(f"none of the {len(candidates)} checkpoints in {candidates[0].parent} is whole")


def has_checkpoint(path: str | Path) -> bool:
    """Whether `path` (see `load_checkpoint`) holds any checkpoint to resume from."""
    path = Path(path)
    return _is_checkpoint(path) or bool(_numbered(path) or _numbered(path / FOLDER))


def kept_metas(directory: Path) -> list[dict[str, Any]]:
    """The meta of every readable checkpoint in a folder of them, oldest first."""
    found = []
    for folder in _numbered(directory):
        try:
            found.append(_read_meta(folder))
        except TornCheckpoint as error:
            _log.warning("%s", error)
    return found


def spec_of(meta: Mapping[str, Any]) -> RobotSpec:
    """The robot that a checkpoint was made for."""
    return msgspec.convert(meta["spec"], RobotSpec)


def config_of(meta: Mapping[str, Any]) -> Config:
    """The configuration that a checkpoint's agent was built from."""
    return Config.from_dict(meta["config"])


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads((folder / _META).read_text())
        found_format, _ = meta["format"], meta["tensors"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TornCheckpoint(f"checkpoint {folder}: {_META} is missing or broken ({error})") from error
    if found_format != FORMAT:
        raise CheckpointError(f"checkpoint {folder} has format {found_format}, this version reads {FORMAT}")
    return meta


def _read(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    meta = _read_meta(folder)
    stated = meta["tensors"]
    file = folder / _TENSORS
    size = file.stat().st_size if file.is_file() else 0
    if size != stated["bytes"]:
        raise TornCheckpoint(f"checkpoint {folder}: {_TENSORS} has {size} bytes, expected {stated['bytes']}")
    if _sha256(file) != stated["sha256"]:
        raise TornCheckpoint(f"checkpoint {folder}: {_TENSORS} is damaged (its sha256 is not the one in {_META})")
    try:
        return safetensors.torch.load_file(file), meta
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"checkpoint {folder}: {_TENSORS} cannot be read: {error}") from error


def _require_same(folder: Path, meta: Mapping[str, Any], spec: RobotSpec | None, config: Config | None) -> None:
    if spec is not None:
        require_same_spec(spec, spec_of(meta), f"checkpoint {folder}")
    if config is None:
        return
    found = differences(config.to_dict(), meta["config"])
    text = "\n".join(f"  {name}: ours {ours!r}, theirs {theirs!r}" for name, ours, theirs in found)
    names = f"theirs is {meta['config']['name']!r}, ours {config.name!r}"
    # Of the behaviour only the layers decide which tensors there are.
    if any(name.startswith("model.") or name.endswith("_layers") for name, *_ in found):
        advice = "Resume with the same preset, or start in another log directory."
        raise CheckpointError(f"checkpoint {folder} holds another model: {names}:\n{text}\n{advice}")
    if found and _preset(config.name) != _preset(meta["config"]["name"]):
        advice = "Resume with the same preset and override single settings, or start in another log directory."
        raise CheckpointError(f"checkpoint {folder} is of another preset: {names}:\n{text}\n{advice}")
    if found:
        _log.warning("going on from %s with other settings:\n%s", folder, text)


def _preset(name: str) -> str:
    """Of a configuration's name, without the overrides."""
    return name.partition(" ")[0]


def _require_meta(meta: Mapping[str, Any]) -> None:
    missing = [key for key in _CALLER_KEYS if key not in meta]
    taken = [key for key in _OWN_KEYS if key in meta]
    if missing or taken:
        raise ValueError(f"checkpoint meta: missing {missing}, reserved {taken}; required {_CALLER_KEYS}")


def _numbered(directory: Path) -> list[Path]:
    """Checkpoints of a folder, oldest first."""
    if not directory.is_dir():
        return []
    found = [entry for entry in directory.iterdir() if entry.is_dir() and entry.name.isdecimal()]
    return sorted(found, key=lambda entry: int(entry.name))


def _is_checkpoint(path: Path) -> bool:
    return (path / _META).is_file() or (path / _TENSORS).is_file()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
