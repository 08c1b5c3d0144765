"""Presets, overrides and their errors."""

import json
import subprocess
import sys

import pytest

from robot_dreamer.config import Config, differences, known_presets, load, load_config


def test_every_preset_loads_and_survives_json():
    assert {"dreamer_v3", "nano", "1m", "12m", "25m", "50m", "100m", "200m", "400m", "cpu_small"} <= set(
        known_presets()
    )
    for name in known_presets():
        config = load_config(name)
        assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_presets_compose_from_left_to_right():
    config = load_config("dreamer_v3:12m:dmc_vision")
    assert (config.model.deter, config.train_ratio) == (2048, 256)
    assert config.name == "dreamer_v3:12m:dmc_vision"
    assert load_config("dmc_proprio:12m").model.deter == 2048
    assert load_config("dreamer_v3").model == load_config("200m").model


@pytest.mark.parametrize(
    ("preset", "deter", "train_ratio", "action_repeat", "pixels"),
    [
        ("dreamer_v3", 8192, 32, 1, False),
        ("dreamer_v3:dmc_proprio", 512, 1024, 1, False),
        ("dreamer_v3:dmc_vision", 8192, 256, 1, True),
        ("dreamer_v3:atari100k", 8192, 256, 4, False),
        ("dreamer_v3:crafter", 8192, 512, 1, False),
        ("dreamer_v3:robot", 2048, 512, 1, False),
    ],
)
def test_domains_are_set_as_in_the_published_code(preset, deter, train_ratio, action_repeat, pixels):
    config = load_config(preset)
    assert config.model.deter == deter
    assert (config.train_ratio, config.action_repeat, config.pixels) == (train_ratio, action_repeat, pixels)
    assert (config.batch_size, config.batch_length, config.behavior.horizon) == (16, 64, 15)


def test_overrides_are_converted_to_the_type_of_the_field():
    config = load_config(
        "nano", ["model.deter=256", "optimizer.learning_rate=3e-4", "model.multipliers=[1, 2]", "compile=true"]
    )
    assert config.model.deter == 256
    assert config.optimizer.learning_rate == pytest.approx(3e-4)
    assert config.model.multipliers == (1, 2)
    assert config.run.compile is True


@pytest.mark.parametrize(
    ("preset", "override", "parts"),
    [
        ("unknown", "", ["unknown preset 'unknown'", "nano", "dreamer_v3"]),
        ("nano", "model.detr=8", ["unknown field 'model.detr'", "deter"]),
        ("nano", "batch_size=many", ["batch_size", "a whole number", "'many'"]),
        ("nano", "model.deter=1.5", ["model.deter", "a whole number", "1.5"]),
        ("nano", "compile=1", ["compile", "true or false", "1"]),
        ("nano", "behavior.lam=2", ["behavior.lam", "between 0.0 and 1.0", "2"]),
        ("nano", "behavior.lam=true", ["behavior.lam", "a finite number", "True"]),
        ("nano", "behavior.entropy=-1e-3", ["behavior.entropy", "0 or a positive number", "-0.001"]),
        ("nano", "behavior.slow_regularizer=-1", ["behavior.slow_regularizer", "0 or a positive number"]),
        ("daydreamer", "behavior.policy_outscale=-1", ["behavior.policy_outscale", "0 or a positive number"]),
        ("nano", "behavior.critic_outscale=-1", ["behavior.critic_outscale", "0 or a positive number"]),
        ("nano", "behavior.discrete_unimix=1", ["behavior.discrete_unimix", "at least 0 and below 1"]),
        ("nano", "model.unimix=1", ["model.unimix", "at least 0 and below 1", "1.0"]),
        ("dreamer_v2", "optimizer.decay=1.5", ["optimizer.decay", "less than 1", "1.5"]),
        ("daydreamer", "optimizer.decay=1e4", ["optimizer.decay", "with the rule adam times the learning rate"]),
        ("planet", "model.overshooting=60", ["model.overshooting", "at most batch_length = 50", "60"]),
        ("nano", "precision=float8", ["precision", "float32, bfloat16", "'float8'"]),
        ("nano", "model.deter=100", ["model.deter", "multiple of model.blocks = 8", "100"]),
        ("nano", "model=5", ["model", "a mapping", "5"]),
        ("nano", "batch_size", ["'batch_size'", "field=value"]),
        ("nano", "model.multipliers=[1, a]", ["model.multipliers", "a list of whole numbers"]),
        ("nano", "name=[", ["name", "not a value"]),
        ("planet", "loss_scales.reward=0", ["loss_scales.reward", "more than 0", "0"]),
        ("planet", "behavior.exploration=0.9", ["does not read it", "planner.exploration"]),
        ("planet", "behavior.entropy=1.0", ["the objective planet does not read it (dreamer_v3 and dreamer would)"]),
        ("world_models", "loss_scales.representation=0", ["the objective world_models does not read it"]),
        ("nano", "evolution.sigma=1", ["evolution.sigma: the objective dreamer_v3 does not read it"]),
        ("dreamer_v2", "loss_scales.dynamics=2", ["the objective dreamer does not read it (dreamer_v3 would)"]),
        ("planet:12m", "", ["'planet:12m'", "12m is made for dreamer_v3", "planet goes with cpu, dmc_proprio"]),
        ("cpu_small:planet", "", ["planet is a generation", "named first: dreamer_v3, daydreamer, dreamer_v1"]),
        ("planet:dreamer_v1", "", ["dreamer_v1 is a generation, and a run is of one"]),
        ("dreamer_v3:cpu", "", ["dreamer_v3 has no cpu; there is daydreamer:cpu, dreamer_v1:cpu"]),
        ("dreamer_v3:12m:dmc_proprio", "", ["nothing of 12m would be left", "model.deter", "name it last"]),
        ("robot:cpu_small", "", ["nothing of robot would be left", "or leave it out"]),
        ("dreamer_v1:atari", "", ["dreamer_v1 has no atari; there is dreamer_v2:atari"]),
    ],
)
def test_errors_name_the_field_and_what_was_found(preset, override, parts):
    with pytest.raises(ValueError) as error:
        load_config(preset, [override] if override else [])
    for part in parts:
        assert part in str(error.value)


def test_configuration_needs_no_torch():
    code = "import sys, robot_dreamer.config as c; c.load_config('nano'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_generation_has_presets_of_its_own(tmp_path, monkeypatch):
    """`a:small` is a's, before the common one of that name; `b:small` is the common one."""
    (tmp_path / "a").mkdir()
    files = {"a.yaml": "{}", "b.yaml": "{}", "small.yaml": "batch_size: 2", "a/small.yaml": "batch_size: 3"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(load, "_FOLDER", tmp_path)
    assert load_config("a:small").batch_size == 3
    assert load_config("b:small").batch_size == 2
    assert known_presets() == ["a", "a:small", "b", "small"]
    with pytest.raises(ValueError, match="unknown preset 'large'; known presets: a, a:small, b, small"):
        load_config("a:large")


def test_settings_of_the_run_may_be_written_short_and_are_no_difference():
    short, long = load_config("nano", ["device=cpu", "run.seed=3"]), load_config("nano", ["run.device=cpu", "seed=3"])
    assert short.run == long.run and short.run.seed == 3
    before = short.to_dict()
    flat = {**before, **before["run"]}
    del flat["run"]
    assert Config.from_dict(flat) == short
    assert differences(flat, load_config("nano").to_dict()) == []
    assert load_config("nano", ["run.device=cuda", "device=cpu"]).run.device == "cpu"
