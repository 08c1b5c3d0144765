"""Bundles of averaged parameters: the arithmetic, a cut run, another run's parameters, the export of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export.exporter import BundleExporter
from export.onnx import main
from robot_dreamer.config import load_config
from robot_dreamer.learner.batch import Batch
from robot_dreamer.learner.ema import PolicyEMA
from robot_dreamer.learner.transfer import start_from
from robot_dreamer.learner.update_result import UpdateResult
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.policy import OnnxPolicy
from tests.unit.test_trainer import SPEC, config, make, train

pytestmark = pytest.mark.usefixtures("traced_once")
State = dict[str, torch.Tensor]


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_mean_of_the_first_updates_and_then_one_that_forgets(tmp_path: Path) -> None:
    policy = make(tmp_path).agent.policy_step()
    ema, parameter = PolicyEMA(policy, 4), next(policy.parameters()).detach()
    kept, found = next(ema.policy.parameters()), []
    for value in (8.0, 2.0, 5.0, 1.0, 4.0, 8.0):
        parameter.fill_(value)
        ema.add()
        found.append(float(kept.mean()))
    assert found == [8.0, 5.0, 5.0, 4.0, 4.0, 5.0]


def test_without_it_bundles_are_the_newest_policy(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    train(trainer, 0, 200)
    exported = dict(trainer.policy_step().named_parameters())
    assert trainer.updates and trainer.ema is None
    assert all(exported[name] is value for name, value in trainer.agent.policy_step().named_parameters())


def test_each_update_enters_once_also_where_it_is_finished_during_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make(tmp_path, config("bundle_ema=3"))
    monkeypatch.setattr(trainer, "_late", True)  # as on a GPU
    expected, update = PolicyEMA(trainer.agent.policy_step(), 3), trainer.agent.update

    def watched(batch: Batch) -> UpdateResult:
        result = update(batch)
        expected.add()
        return result

    monkeypatch.setattr(trainer.agent, "update", watched)
    train(trainer, 0, 200)
    trainer.save()
    train(trainer, 200, 330)
    assert trainer.updates > 6 and same(trainer.policy_step().state_dict(), expected.policy.state_dict())


def test_a_cut_run_publishes_what_the_uncut_one_does(tmp_path: Path) -> None:
    averaged = config("bundle_ema=50")
    whole, first = make(tmp_path / "whole", averaged), make(tmp_path / "cut", averaged)
    train(whole, 0, 330)
    train(first, 0, 200)
    first.save()
    first.store.close()
    second = make(tmp_path / "cut", averaged)
    assert second.resume() and second.updates > 3
    assert same(first.policy_step().state_dict(), second.policy_step().state_dict())
    train(second, 200, 330)
    assert same(whole.policy_step().state_dict(), second.policy_step().state_dict())
    assert not same(whole.policy_step().state_dict(), whole.agent.policy_step().state_dict())


def test_a_run_that_did_not_average_goes_on_with_it_from_where_it_is(tmp_path: Path) -> None:
    first = make(tmp_path)
    train(first, 0, 200)
    first.save()
    first.store.close()
    second = make(tmp_path, config("bundle_ema=50"))
    assert second.resume()
    assert same(first.agent.policy_step().state_dict(), second.policy_step().state_dict())


def test_another_runs_parameters_are_published_before_the_first_update(tmp_path: Path) -> None:
    source = make(tmp_path / "source")
    train(source, 0, 200)
    source.save()
    trainer = make(tmp_path / "new", config("seed=5", "bundle_ema=50"))
    start_from(trainer, source.logdir)
    assert same(trainer.policy_step().state_dict(), source.agent.policy_step().state_dict())


def test_an_export_of_the_checkpoint_is_the_bundle_that_was_published(tmp_path: Path) -> None:
    trainer = make(tmp_path, config("bundle_ema=50"))
    train(trainer, 0, 200)
    trainer.save()
    published, exported = tmp_path / "published.zip", tmp_path / "exported.zip"
    BundleExporter(trainer.policy_step(), SPEC, trainer.config).export(published, 1, trainer.updates)
    newest = tmp_path / "newest.zip"
    BundleExporter(trainer.agent.policy_step(), SPEC, trainer.config).export(newest, 1, trainer.updates)
    assert main(["--checkpoint", str(tmp_path), "--output", str(exported), "--steps", "20"]) == 0
    first, second, other = (answers(path) for path in (published, exported, newest))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def answers(bundle: Path) -> np.ndarray:
    """What the policy of a bundle makes of a few observations."""
    policy, action = OnnxPolicy(read_bundle(bundle, SPEC)), {"force": np.zeros(1, np.float32)}
    found = []
    for t in range(5):
        seen = {o.name: np.cos(t + np.arange(o.shape[0])).astype(np.float32) for o in SPEC.observations}
        action = dict(policy.step(seen, action, t == 0, None).action)
        found.append(action["force"].copy())
    return np.concatenate(found)


def test_an_average_of_another_model_is_refused_whole(tmp_path: Path) -> None:
    ema = make(tmp_path, config("bundle_ema=50")).ema
    assert ema is not None
    before = {name: value.clone() for name, value in ema.state().items()}
    odd = {name: value + 1 for name, value in ema.state().items()}
    first = next(name for name in odd if name.endswith("kernel") or name.endswith("weight"))
    odd[first] = torch.zeros(3)
    with pytest.raises(ValueError, match=f"{first}: expected"):
        ema.load(odd)
    del odd[first]
    with pytest.raises(ValueError, match=f"missing {first}"):
        ema.load(odd)
    assert same(before, ema.state())


def test_a_controller_that_was_evolved_is_not_averaged() -> None:
    with pytest.raises(ValueError, match="bundle_ema: the objective world_models does not read it"):
        load_config("world_models:cpu", ["bundle_ema=50"])


@pytest.mark.parametrize("value", ["-1", "0.5"])
def test_what_is_no_number_of_updates_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="bundle_ema"):
        config(f"bundle_ema={value}")
