"""Checkpoints: safetensors for the numbers, JSON for the rest; a crash never loses the last good one.

A checkpoint is a numbered folder:

    checkpoints/00000007/tensors.safetensors
    checkpoints/00000007/meta.json

`meta.json` (`checkpoint_meta.py`) holds format, spec and its hash, configuration, size and sha256 of the tensors file,
and where the run was. The folder is written under another name, synced to disk, and renamed as the last step; so a
folder with a number is whole, unless the disk itself lies, which size and sha256 find out at loading. Nothing is ever
unpickled. The latents of the replay are beside these folders (`latents.py`): an export does not need them.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from robot_dreamer.config import Config, differences
from robot_dreamer.config.reads import is_read
from robot_dreamer.durable import sha256_of, sync
from robot_dreamer.learner.checkpoint_meta import (
    FOLDER,
    FORMAT,
    META,
    CheckpointMeta,
    Progress,
    TensorsFile,
    TornCheckpointMeta,
    meta_json,
    numbered,
    read_meta,
)
from robot_dreamer.spec import RobotSpec, require_same_spec

_TENSORS = "tensors.safetensors"
_WRITING = ".writing-"
_OF_THE_MODEL = ("freeze", "evolution.bias", "evolution.reads_cell")  # settings, beside those of the section

_log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """No usable checkpoint, or one that was made for something else; the message says which, and what to do."""


class TornCheckpoint(CheckpointError):
    """A checkpoint is incomplete or damaged; an older one may still be good."""


def save_checkpoint(
    directory: str | Path,
    tensors: Mapping[str, torch.Tensor],
    progress: Progress,
    *,
    spec: RobotSpec,
    config: Config,
    keep: int = 3,
) -> Path:
    """Write the next checkpoint into `directory`, durably and atomically, and delete all but the newest `keep`.

    Args:
      directory: the folder of numbered checkpoints; made if absent.
      tensors: by name, any dtype and device; those of the agent begin with `agent/`, so that an export finds them.
      progress: where the run is.
      spec: the robot, or the environment described as one.
      config: what the agent was built from.

    Returns the new checkpoint's folder. Raises OSError if the disk refuses; the older checkpoints are untouched then.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob(f"{_WRITING}*"):
        _log.warning("removing %s: left behind by a write that did not finish", leftover)
        shutil.rmtree(leftover)
    number = max((int(folder.name) for folder in numbered(directory)), default=0) + 1
    final, temporary = directory / f"{number:08d}", directory / f"{_WRITING}{number:08d}"
    temporary.mkdir()
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        _write_tensors(on_cpu, temporary / _TENSORS)
        written = TensorsFile((temporary / _TENSORS).stat().st_size, sha256_of(temporary / _TENSORS))
        (temporary / META).write_text(meta_json(progress, spec, config, written), encoding="utf-8")
        shutil.copymode(temporary / META, temporary / _TENSORS)  # safetensors writes for the owner only
        for path in (temporary / _TENSORS, temporary / META, temporary):
            sync(path)
    except OSError:
        shutil.rmtree(temporary)  # a full disk needs its room
        raise
    temporary.rename(final)
    sync(directory)
    for old in numbered(directory)[:-keep]:
        shutil.rmtree(old)
    return final


def load_checkpoint(
    path: str | Path,
    *,
    spec: RobotSpec | None = None,
    config: Config | None = None,
    check: Callable[[CheckpointMeta], None] = lambda meta: None,
) -> tuple[dict[str, torch.Tensor], CheckpointMeta]:
    """Load one checkpoint: (tensors on the CPU by name, everything else).

    Args:
      path: a checkpoint, a folder of them (the newest whole one is taken), or a log directory with such a folder.
      spec: refuse a checkpoint of another robot.
      config: refuse a checkpoint of another model or preset; warn where single settings differ.
      check: given the meta; raises TornCheckpoint if what the caller needs beside the checkpoint is not whole.

    A torn checkpoint in a folder of several is skipped with a warning that names it. Raises CheckpointError if nothing
    usable is left or model or preset is another one, SpecMismatch if the robot is.
    """
    path = Path(path)
    candidates = [path] if _is_checkpoint(path) else numbered(path) or numbered(path / FOLDER)
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


def below(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Those whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def has_checkpoint(path: str | Path) -> bool:
    """Whether `path` (see `load_checkpoint`) holds any checkpoint to resume from."""
    path = Path(path)
    return _is_checkpoint(path) or bool(numbered(path) or numbered(path / FOLDER))


def _write_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Raises OSError, where safetensors has an error of its own that has the number in its text alone."""
    try:
        safetensors.torch.save_file(tensors, path)
    except safetensors.SafetensorError as error:
        number = re.search(r"os error ([0-9]+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def _read_meta(folder: Path) -> CheckpointMeta:
    try:
        meta = read_meta(folder / META)
    except TornCheckpointMeta as error:
        raise TornCheckpoint(f"checkpoint {folder}: {error}") from error
    if isinstance(meta, int):
        raise CheckpointError(f"checkpoint {folder} has format {meta}, this version reads {FORMAT}")
    return meta


def _read(folder: Path) -> tuple[dict[str, torch.Tensor], CheckpointMeta]:
    meta = _read_meta(folder)
    stated = meta.tensors
    file = folder / _TENSORS
    size = file.stat().st_size if file.is_file() else 0
    if size != stated.bytes:
        raise TornCheckpoint(f"checkpoint {folder}: {_TENSORS} has {size} bytes, expected {stated.bytes}")
    if sha256_of(file) != stated.sha256:
        raise TornCheckpoint(f"checkpoint {folder}: {_TENSORS} is damaged (its sha256 is not the one in {META})")
    try:
        return safetensors.torch.load_file(file), meta
    except safetensors.SafetensorError as error:
        raise TornCheckpoint(f"checkpoint {folder}: {_TENSORS} cannot be read: {error}") from error


def _require_same(folder: Path, meta: CheckpointMeta, spec: RobotSpec | None, config: Config | None) -> None:
    if spec is not None:
        require_same_spec(spec, meta.spec, f"checkpoint {folder}")
    if config is None:
        return
    found = differences(config.to_dict(), meta.configuration().to_dict())  # with the defaults of what is new since
    text = "\n".join(f"  {name}: ours {ours!r}, theirs {theirs!r}" for name, ours, theirs in found)
    names = f"theirs is {meta.config['name']!r}, ours {config.name!r}"
    if any(is_read(config, name) and _decides_tensors(name, *sides) for name, *sides in found):
        advice = "Resume with the same preset, or start in another log directory."
        raise CheckpointError(f"checkpoint {folder} holds another model: {names}:\n{text}\n{advice}")
    if found and _preset(config.name) != _preset(meta.config["name"]):
        advice = "Resume with the same preset and override single settings, or start in another log directory."
        raise CheckpointError(f"checkpoint {folder} is of another preset: {names}:\n{text}\n{advice}")
    if found:
        _log.warning("going on from %s with other settings:\n%s", folder, text)


def _decides_tensors(name: str, ours: Any, theirs: Any) -> bool:
    """Whether agents with the one and the other value have other tensors, or tensors that mean something else."""
    if name in ("demonstrations.imitation", "behavior.slow_every"):  # each has tensors of its own, unless it is 0
        return bool(ours) != bool(theirs)
    if name.endswith("optimizer.rule"):  # its moments are of normalised gradients
        return "laprop" in (ours, theirs)
    return name.startswith("model.") or name.endswith("_layers") or name in _OF_THE_MODEL


def _preset(name: str) -> str:
    """Of a configuration's name, without the overrides."""
    return name.partition(" ")[0]


def _is_checkpoint(path: Path) -> bool:
    return (path / META).is_file() or (path / _TENSORS).is_file()
