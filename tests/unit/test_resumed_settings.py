"""A run that goes on has the settings that it had, whatever its preset says by now."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest

from robot_dreamer.commands.options import chosen_config
from robot_dreamer.commands.startable import require_startable
from robot_dreamer.config import Config, load_config
from robot_dreamer.learner.checkpoint_meta import FOLDER, META, Progress, TensorsFile, meta_json, newest_meta
from robot_dreamer.processes import Options
from robot_dreamer.spec import load_spec


def begun(logdir: Path, config: Config, number: int = 1) -> Path:
    """What is read of a checkpoint with these settings."""
    file = logdir / FOLDER / f"{number:08d}" / META
    file.parent.mkdir(parents=True)
    file.write_text(meta_json(Progress(training_step=1, env_step=1), load_spec("cartpole"), config, TensorsFile(0, "")))
    return file


def asked(logdir: Path, preset: str | None, *overrides: str) -> argparse.Namespace:
    return argparse.Namespace(preset=preset, set=list(overrides), seed=0, logdir=logdir)


def test_what_the_preset_said_when_the_run_began_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """dreamer_v1:cpu repeated each action once."""
    assert chosen_config(asked(tmp_path, "dreamer_v1:cpu")).action_repeat == 1
    begun(tmp_path, replace(load_config("dreamer_v1:cpu", ["seed=0"]), action_repeat=2))
    with caplog.at_level("INFO"):
        config = chosen_config(asked(tmp_path, "dreamer_v1:cpu"))
    assert (config.action_repeat, config.name) == (2, "dreamer_v1:cpu action_repeat=2 seed=0")
    assert "goes on as it was" in caplog.text and "action_repeat=2" in caplog.text
    assert chosen_config(asked(tmp_path, "dreamer_v1:cpu", "action_repeat=1")).action_repeat == 1
    assert chosen_config(asked(tmp_path, "dreamer_v2:cpu")).action_repeat == 1  # another preset, another run


def test_what_a_person_said_once_stays_until_it_is_said_otherwise(tmp_path: Path) -> None:
    begun(tmp_path, load_config("nano", ["train_ratio=64", "model.deter=128", "freeze=[encoder]", "publish_every=3"]))
    config = chosen_config(asked(tmp_path, "nano", "model.deter=256"))
    assert (config.train_ratio, config.model.deter, config.freeze) == (64.0, 256, ("encoder",))
    assert config.run.publish_every == load_config("nano").run.publish_every  # how it is carried out is said anew
    assert chosen_config(asked(tmp_path, "nano", "model={deter: 256}")).model.deter == 256


@pytest.mark.parametrize("preset", [None, "dreamer_v3:12m"])
def test_a_task_goes_on_with_the_pictures_that_it_began_with(tmp_path: Path, preset: str | None) -> None:
    """It was another preset without them, and so another robot."""
    task = "dmc:walker_walk"
    begun(tmp_path, chosen_config(asked(tmp_path, preset, "pixels=true", "train_ratio=8"), task))
    config = chosen_config(asked(tmp_path, preset), task)
    assert (config.pixels, config.train_ratio) == (True, 8.0) and ":dmc_vision" in config.name
    assert not chosen_config(asked(tmp_path, preset, "pixels=false"), task).pixels
    assert not chosen_config(asked(tmp_path / "another", preset), task).pixels


def test_a_file_of_ones_own_counts_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    preset = f"nano:{file}"
    file.write_text("train_ratio: 64\nmodel: {deter: 128}\n")
    begun(tmp_path, load_config(preset))
    file.write_text("train_ratio: 16\n")
    config = chosen_config(asked(tmp_path, preset))
    assert (config.train_ratio, config.model.deter) == (16.0, 128)


def test_settings_that_one_of_the_versions_has_not_or_nobody_reads_are_left_alone(tmp_path: Path) -> None:
    file = begun(tmp_path, load_config("nano"))
    found = json.loads(file.read_text())
    found["config"]["planner"]["horizon"] = 7
    del found["config"]["train_ratio"]
    file.write_text(json.dumps(found))
    assert chosen_config(asked(tmp_path, "nano")) == load_config("nano", ["seed=0"])


def test_what_the_run_read_stays_though_the_preset_alone_would_not_read_it(tmp_path: Path) -> None:
    begun(tmp_path, load_config("nano", ["optimizer.rule=adam", "optimizer.clip=5"]))
    optimizer = chosen_config(asked(tmp_path, "nano")).optimizer
    assert (optimizer.rule, optimizer.clip) == ("adam", 5.0)


def test_what_stays_is_not_held_against_the_person_where_nothing_reads_it_any_more(tmp_path: Path) -> None:
    preset, through_the_model = "dreamer_v2:cpu", "behavior.gradient=dynamics"
    begun(tmp_path, load_config(preset, ["behavior.gradient=mix", "behavior.dynamics_share=0.3"]))
    assert chosen_config(asked(tmp_path, preset)).behavior.dynamics_share == 0.3
    assert chosen_config(asked(tmp_path, preset, through_the_model)).behavior.gradient == "dynamics"
    with pytest.raises(ValueError, match=r"it is read with behavior\.gradient=mix only"):
        chosen_config(asked(tmp_path, preset, through_the_model, "behavior.dynamics_share=0.4"))


def test_what_goes_with_the_runs_own_settings_alone_is_taken(tmp_path: Path) -> None:
    """It was refused with what to set beside it, as if the run had not."""
    preset, more = "dreamer_v2:cpu", ("behavior.dynamics_share=0.3", "behavior.imagine_last=55")
    begun(tmp_path, load_config(preset, ["behavior.gradient=mix", "batch_length=60", "behavior.imagine_last=50"]))
    config = chosen_config(asked(tmp_path, preset, *more))
    assert (config.behavior.gradient, config.behavior.dynamics_share) == ("mix", 0.3)
    assert (config.batch_length, config.behavior.imagine_last) == (60, 55)
    require_startable(Options(preset=preset, overrides=more, logdir=tmp_path))
    with pytest.raises(ValueError, match=r"it is read with behavior\.gradient=mix only"):
        require_startable(Options(preset=preset, overrides=more[:1], logdir=tmp_path / "another"))


def test_of_a_checkpoint_that_is_torn_the_one_before_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begun(tmp_path, load_config("nano", ["train_ratio=64"]), 9)
    begun(tmp_path, load_config("nano", ["train_ratio=16"]), 10).write_text("{")
    assert chosen_config(asked(tmp_path, "nano")).train_ratio == 64
    assert "passing over a checkpoint" in caplog.text


def test_settings_that_a_newer_version_refuses_are_the_runs_and_asked_of_people_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its checkpoints were passed over as broken: the run went on from an older one, or not at all."""
    config = load_config("nano", ["train_ratio=16", "seed=0"])
    behavior = replace(config.behavior, lam=2.0, entropy=-0.5)
    before = replace(config, behavior=behavior, model=replace(config.model, unimix=1.0))
    begun(tmp_path, load_config("nano", ["train_ratio=64"]))
    begun(tmp_path, before, 2)
    meta = newest_meta(tmp_path)
    assert meta is not None and meta.configuration() == before and "passing over" not in caplog.text
    config = chosen_config(asked(tmp_path, "nano", "train_ratio=8"))
    assert (config.behavior.lam, config.behavior.entropy, config.model.unimix) == (2.0, -0.5, 1.0)
    assert config.train_ratio == 8.0
    for wrong in ("model.unimix=1", "behavior.slow_rate=2", "batch_size=0"):
        with pytest.raises(ValueError, match=wrong.partition("=")[0]):
            chosen_config(asked(tmp_path, "nano", wrong))
    file = tmp_path / "mine.yaml"
    file.write_text("behavior: {slow_rate: 2}\n")
    with pytest.raises(ValueError, match=r"mine\.yaml, line 1: behavior\.slow_rate"):
        chosen_config(asked(tmp_path, f"nano:{file}"))
