"""Checkpoints survive a kill at any point of a write, and are refused for another robot or model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import safetensors.torch
import torch

from robot_dreamer.config import load_config
from robot_dreamer.learner import checkpoint
from robot_dreamer.learner.checkpoint import (
    CheckpointError,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from robot_dreamer.learner.checkpoint_meta import FOLDER, Progress
from robot_dreamer.spec import SpecMismatch, load_spec
from tests.unit.dying import KILLED, dying_at

SPEC = load_spec("cartpole")
CONFIG = load_config("nano")


def progress(step: int) -> Progress:
    return Progress(training_step=step, env_step=10 * step, cursor=5, lineage="a run", replay={"rng": 2**100})


def tensors(step: int) -> dict[str, torch.Tensor]:
    flat = torch.full((6,), float(step))
    return {
        "kernel": torch.full((3, 2), float(step)).T,  # not contiguous
        "first": flat[:2],  # views of one buffer
        "second": flat[2:],
        "count": torch.tensor(step),
        "half": torch.ones(2, dtype=torch.bfloat16),
    }


def save(directory: Path, step: int, **options: Any) -> Path:
    return save_checkpoint(directory, tensors(step), progress(step), **{"spec": SPEC, "config": CONFIG, **options})


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    folder = save(tmp_path, 3)
    loaded, found = load_checkpoint(folder, spec=SPEC, config=CONFIG)
    assert loaded.keys() == tensors(3).keys()
    for name, tensor in tensors(3).items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    assert {name: getattr(found, name) for name in Progress.__struct_fields__} == msgspec.structs.asdict(progress(3))
    assert found.spec == SPEC
    assert found.configuration() == CONFIG
    assert found.spec_hash == SPEC.hash


def test_the_newest_of_a_folder_or_log_directory_is_loaded_and_old_ones_go(tmp_path: Path) -> None:
    assert not has_checkpoint(tmp_path)
    for step in range(1, 6):
        save(tmp_path / FOLDER, step, keep=2)
    assert sorted(p.name for p in (tmp_path / FOLDER).iterdir()) == ["00000004", "00000005"]
    for path in (tmp_path, tmp_path / FOLDER):
        assert has_checkpoint(path)
        assert load_checkpoint(path)[1].training_step == 5


def test_another_robot_is_refused_with_both_shown(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with pytest.raises(SpecMismatch, match=r"rate: ours 50.0, theirs 25.0"):
        load_checkpoint(tmp_path, spec=msgspec.structs.replace(SPEC, rate=50.0))


def test_another_model_is_refused_with_both_shown(tmp_path: Path) -> None:
    save(tmp_path, 1)
    with pytest.raises(CheckpointError, match=r"(?s)is 'nano', ours 'dreamer_v3:1m'.*deter: ours 512, theirs 64"):
        load_checkpoint(tmp_path, config=load_config("dreamer_v3:1m"))


def test_another_preset_is_refused_and_other_settings_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    with pytest.raises(
        CheckpointError, match=r"(?s)is 'nano', ours 'nano:crafter'.*train_ratio: ours 512.0, theirs 32"
    ):
        load_checkpoint(tmp_path, config=load_config("nano:crafter"))
    with caplog.at_level(logging.WARNING):
        load_checkpoint(tmp_path, config=load_config("nano", ["seed=3", "device=cpu", "checkpoint_every=1"]))
        assert not caplog.text
        load_checkpoint(tmp_path, config=load_config("nano", ["train_ratio=512"]))
    assert "train_ratio: ours 512.0, theirs 32.0" in caplog.text


def test_a_setting_of_the_model_that_nothing_reads_is_no_other_model(tmp_path: Path) -> None:
    """It could be set once; now it is refused, so a run that has it could go on neither with it nor without."""
    config = load_config("nano")
    save(tmp_path, 1, config=dataclasses.replace(config, model=dataclasses.replace(config.model, tanh_rewards=True)))
    assert load_checkpoint(tmp_path, config=config)[1].training_step == 1


@pytest.mark.parametrize(
    ("preset", "theirs", "ours"),
    [
        ("nano", "demonstrations.imitation=1.0", "demonstrations.imitation=0.0"),
        ("dreamer_v2", "behavior.slow_every=100", "behavior.slow_every=0"),
        ("world_models", "evolution.bias=True", "evolution.bias=False"),
        ("world_models", "evolution.reads_cell=False", "evolution.reads_cell=True"),
        ("dreamer_v1", "critic_optimizer.rule=adam", "critic_optimizer.rule=laprop"),
        ("dreamer_v3", "behavior.policy_layers=3", "behavior.policy_layers=2"),
    ],
)
def test_settings_that_decide_what_is_stored_are_refused_before_anything_is_loaded(
    tmp_path: Path, preset: str, theirs: str, ours: str
) -> None:
    save(tmp_path, 1, config=load_config(preset, [theirs.lower()]))
    name, _, value = ours.partition("=")
    with pytest.raises(CheckpointError, match="holds another model") as error:
        load_checkpoint(tmp_path, config=load_config(preset, [ours.lower()]))
    assert name in str(error.value) and value.lower() in str(error.value).lower()


@pytest.mark.parametrize(
    ("preset", "theirs", "ours"),
    [
        ("nano", "demonstrations.imitation=1.0", "demonstrations.imitation=5.0"),
        ("dreamer_v2", "behavior.slow_every=100", "behavior.slow_every=50"),
        ("dreamer_v1", "optimizer.rule=adam_tf", "optimizer.rule=adam"),
    ],
)
def test_settings_that_fit_what_is_stored_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, preset: str, theirs: str, ours: str
) -> None:
    save(tmp_path, 1, config=load_config(preset, [theirs]))
    load_checkpoint(tmp_path, config=load_config(preset, [ours]))
    assert "going on from" in caplog.text and ours.partition("=")[2] in caplog.text


def test_missing_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        load_checkpoint(tmp_path / "nowhere")


def test_a_checkpoint_of_before_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its settings of the run have no section of their own; it lacks what is new and states more than is read today."""
    folder = save(tmp_path, 3)
    meta = json.loads((folder / "meta.json").read_text())
    del meta["config"]["model"]["unimix"], meta["config"]["demonstrations"]
    run = meta["config"].pop("run")
    before = {**meta, "config": {**meta["config"], **run}, "agent": {"updates": 3}}
    (folder / "meta.json").write_text(json.dumps(before))
    assert load_checkpoint(tmp_path, spec=SPEC, config=CONFIG)[1].configuration() == CONFIG
    assert not caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"tensors": 5},
        {"config": {"model": 5}},
        {"config": []},
        {"cursor": "x"},
        {"replay": None},
        {"spec": {}},
        {"format": None},
    ],
    ids=str,
)
def test_a_meta_of_other_types_is_torn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any]
) -> None:
    save(tmp_path, 1)
    torn = save(tmp_path, 2)
    meta = json.loads((torn / "meta.json").read_text())
    (torn / "meta.json").write_text(json.dumps({**meta, **change}))
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint(tmp_path)[1].training_step == 1
    assert str(torn / "meta.json") in caplog.text


def truncate(folder: Path) -> None:
    os.truncate(folder / "tensors.safetensors", 100)


def flip_a_bit(folder: Path) -> None:
    file = folder / "tensors.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def lose_tensors(folder: Path) -> None:
    (folder / "tensors.safetensors").unlink()


def lose_meta(folder: Path) -> None:
    (folder / "meta.json").unlink()


def tear_meta(folder: Path) -> None:
    os.truncate(folder / "meta.json", 50)


def nest_meta(folder: Path) -> None:
    (folder / "meta.json").write_text("[" * 100_000)


def write_meta_in_another_code(folder: Path) -> None:
    (folder / "meta.json").write_bytes(b"\xff\xfe")


def break_tensors_within(folder: Path) -> None:
    """With the right size and hash, but no safetensors."""
    content = b"x" * 100
    (folder / "tensors.safetensors").write_bytes(content)
    meta = json.loads((folder / "meta.json").read_text())
    meta["tensors"] = {"bytes": 100, "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "meta.json").write_text(json.dumps(meta))


_DAMAGES = [
    truncate,
    flip_a_bit,
    lose_tensors,
    break_tensors_within,
    lose_meta,
    tear_meta,
    nest_meta,
    write_meta_in_another_code,
]


@pytest.mark.parametrize("damage", _DAMAGES)
def test_a_torn_checkpoint_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    save(tmp_path, 1)
    torn = save(tmp_path, 2)
    damage(torn)
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint(tmp_path)[1].training_step == 1
    assert str(torn) in caplog.text
    with pytest.raises(CheckpointError, match=torn.name):
        load_checkpoint(torn)
    damage(tmp_path / "00000001")
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_whoever_may_read_one_file_of_a_checkpoint_may_read_the_other(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        folder = save(tmp_path, 1)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys(("meta.json", "tensors.safetensors"), 0o666 & ~mask)


def test_a_future_format_is_refused_not_skipped(tmp_path: Path) -> None:
    save(tmp_path, 1)
    newer = save(tmp_path, 2)
    text = json.loads((newer / "meta.json").read_text())
    (newer / "meta.json").write_text(json.dumps({**text, "format": 99}))
    with pytest.raises(CheckpointError, match="has format 99, this version reads 2"):
        load_checkpoint(tmp_path)


def save_and_die(directory: Path, point: int) -> None:
    """Save, but end the process without a word at the n-th step of the write."""
    torch.set_num_threads(1)
    dying = dying_at(point)
    safetensors.torch.save_file = dying(safetensors.torch.save_file)
    Path.mkdir = dying(Path.mkdir)  # type: ignore[method-assign]
    Path.write_text = dying(Path.write_text)  # type: ignore[method-assign]
    Path.rename = dying(Path.rename)  # type: ignore[method-assign]
    os.fsync = dying(os.fsync)
    checkpoint.shutil.rmtree = dying(checkpoint.shutil.rmtree)  # type: ignore[attr-defined]
    save(directory, 3, keep=2)
    os._exit(0)


def test_a_kill_at_any_point_of_a_write_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    codes = []
    for point in range(100):
        directory = tmp_path / str(point)
        save(directory, 1)
        save(directory, 2)
        process = multiprocessing.get_context("fork").Process(target=save_and_die, args=(directory, point))
        process.start()
        process.join(timeout=60)
        codes.append(process.exitcode)
        step = load_checkpoint(directory)[1].training_step
        assert step in (2, 3)
        save(directory, 4)  # and the next write works and clears what was left behind
        assert load_checkpoint(directory)[1].training_step == 4
        assert not list(directory.glob(".writing-*"))
        if process.exitcode == 0:
            assert step == 3
            break
    assert codes == [KILLED] * (len(codes) - 1) + [0]
    assert len(codes) > 8  # mkdir x2, tensors, meta, 3 fsyncs, rename, fsync, rmtree
