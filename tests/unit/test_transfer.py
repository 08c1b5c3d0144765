"""Beginning with another run's parameters, and modules that stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from robot_dreamer.config.load import _leaves
from robot_dreamer.learner.checkpoint import CheckpointError
from robot_dreamer.learner.trainer import Trainer
from robot_dreamer.learner.transfer import _MEANING, start_from, task_modules
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.spec import parse_spec
from tests.unit.test_trainer import SPEC, config, make, train


def parameters(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainer.agent.named_parameters()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Modules, as `world_model.encoder` or `policy`, of which a parameter is another one."""
    names = {name for name in before if not torch.equal(before[name], after[name])}
    return {".".join(name.split(".")[: 2 if name.startswith("world_model") else 1]) for name in names}


@pytest.fixture
def source(tmp_path: Path) -> Trainer:
    trainer = make(tmp_path / "source")
    train(trainer, 0, 200)
    trainer.save()
    return trainer


def test_a_run_begins_with_the_parameters_of_another_one(tmp_path: Path, source: Trainer) -> None:
    trainer = make(tmp_path / "new", config("seed=5"))
    start_from(trainer, source.logdir)
    assert trainer.given and not changed(parameters(source), parameters(trainer))
    assert trainer.updates == 0 and not any(o.first_moment.any() for o in trainer.agent.optimizers.values())
    train(trainer, 0, 200)
    assert trainer.updates > 3 and changed(parameters(source), parameters(trainer))


def test_modules_may_keep_what_they_were_drawn_with(tmp_path: Path, source: Trainer) -> None:
    trainer = make(tmp_path / "new", config("seed=5"))
    before = parameters(trainer)
    fresh = task_modules(trainer.agent)
    assert fresh == ["reward", "continuation", "policy", "critic", "slow_critic"]
    start_from(trainer, source.logdir, fresh)
    seen = {"world_model.encoder", "world_model.rssm", "world_model.decoder"}
    assert changed(before, parameters(trainer)) == seen


def test_the_reward_may_be_another_one_and_what_is_seen_may_not(
    tmp_path: Path, source: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    def trainer(spec: str, folder: str) -> Trainer:
        (tmp_path / folder).mkdir()
        robot = parse_spec(spec)
        return Trainer(robot, config(), ExperienceStore(tmp_path / folder / "s.sqlite", robot), tmp_path / folder)

    text = SPEC.to_json()
    with caplog.at_level("INFO"):
        start_from(trainer(text.replace('"names":["reward"]', '"names":["score"]'), "a"), source.logdir)
    assert 'its robot differs in reward.names[0]: ours "score", theirs "reward"' in caplog.text
    with pytest.raises(CheckpointError, match="has learned with other observations"):
        start_from(trainer(text.replace('"name":"cart_position"', '"name":"position"'), "b"), source.logdir)


def test_another_model_is_refused_with_the_preset_that_fits(tmp_path: Path, source: Trainer) -> None:
    trainer = make(tmp_path / "new", config("model.units=64"))
    before = parameters(trainer)
    with pytest.raises(CheckpointError, match=r"take its preset \(nano .*\n  model.units: ours 64, theirs"):
        start_from(trainer, source.logdir)
    assert not trainer.given and not changed(before, parameters(trainer))


def test_settings_by_which_the_same_parameters_mean_something_else_are_told_and_no_others(
    tmp_path: Path, source: Trainer, caplog: pytest.LogCaptureFixture
) -> None:
    learning = ("train_ratio=12", "model.free_nats=2", "behavior.entropy=0.1", "behavior.horizon=3")
    start_from(make(tmp_path / "same", config(*learning)), source.logdir)
    assert not caplog.text
    trainer = make(tmp_path / "new", config("model.symlog_inputs=false", "behavior.return_horizon=50"))
    start_from(trainer, source.logdir)
    assert "say something else with the settings of this run" in caplog.text and trainer.given
    assert "model.symlog_inputs: ours False, theirs True" in caplog.text
    assert "behavior.return_horizon: ours 50, theirs 333" in caplog.text
    assert _MEANING.issubset(name for name, _ in _leaves(trainer.config.to_dict()))


def test_frozen_modules_stay_as_they_are(tmp_path: Path) -> None:
    trainer = make(tmp_path, config("freeze=[encoder, decoder, policy]"))
    before = parameters(trainer)
    train(trainer, 0, 300)
    assert trainer.updates > 5
    learned = {"world_model.rssm", "world_model.reward", "world_model.continuation", "critic", "slow_critic"}
    assert changed(before, parameters(trainer)) == learned
    trainer.save()
    trainer.store.close()
    again = make(tmp_path, config("freeze=[encoder, decoder, policy]"))
    assert again.resume() and not changed(parameters(trainer), parameters(again))
    again.store.close()
    with pytest.raises(CheckpointError, match=r"freeze: ours \[\], theirs \['encoder', 'decoder', 'policy'\]"):
        make(tmp_path).resume()


@pytest.mark.parametrize(
    ("frozen", "expected"),
    [
        ("encodr", "freeze: expected modules of world_model, encoder, .* critic.*, found 'encodr'"),
        ("world_model, policy, critic", "freeze: nothing of world_model and policy and critic would be left"),
        ("7", r"freeze: expected a list of texts, found \[7\]"),
    ],
)
def test_what_cannot_be_frozen_is_named(tmp_path: Path, frozen: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        make(tmp_path, config(f"freeze=[{frozen}]"))
