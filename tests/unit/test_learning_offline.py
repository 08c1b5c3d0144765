"""`learn --offline` and `relearn` as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_dreamer.bundle_names import written_bundles
from robot_dreamer.cli import main
from robot_dreamer.data.source import open_store, rows_of
from robot_dreamer.learner.trainer import Trainer
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.spec import load_spec
from tests.unit.test_trainer import config, make, rows, train

pytestmark = pytest.mark.usefixtures("traced_once")
REWARD = "(pole_angle[0] + 1) / 2"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that froze what knows the task, and imitated a person."""
    trainer = make(tmp_path / "run", config("freeze=[reward, policy]", "demonstrations.imitation=1"))
    train(trainer, 0, 120)
    trainer.save()
    trainer.store.close()
    return tmp_path / "run"


def test_another_task_is_learned_by_all_that_knows_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    place = tmp_path / "new"
    words = ["relearn", str(run), "--reward", REWARD, "--logdir", str(place), "--epochs", "2"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "the rows with the new reward: from 0" in shown and str(place / "robot.yaml") in shown
    spec = load_spec(place / "robot.yaml")
    assert spec.reward.expression == REWARD and spec.simulation == load_spec("cartpole").simulation
    (newest,) = written_bundles(place / "bundles")  # nobody waited for one before the end
    bundle = read_bundle(newest, spec)
    assert bundle.manifest.training_step > 3
    settings = json.loads((place / "run.json").read_text())["config"]
    assert settings["freeze"] == [] and settings["demonstrations"]["imitation"] == 0
    assert main(words) == 0 and written_bundles(place / "bundles") == [newest]  # the budget is spent
    (place / "robot.yaml").write_text(load_spec("cartpole_slow").to_json())
    assert main(words) == 2 and "robot.yaml is there and is another robot's" in capsys.readouterr().err


def test_an_episode_that_is_discarded_later_leaves_the_relabelled_rows_too(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "new"
    words = ["relearn", str(run), "--reward", REWARD, "--logdir", str(place), "--epochs", "1"]
    assert main(words) == 0
    before = numbers(place)
    store = ExperienceStore(run / "experience.sqlite", load_spec("cartpole"))
    with store.transaction():
        store.discard("cartpole", "boot", 1)
    store.add(rows(store.count(), store.count() + 31))
    store.close()
    assert main([*words[:-1], "2"]) == 0
    after = numbers(place)
    assert after[: len(before)] == before and len(after) == len(before) + 31  # nothing moved, what came is there
    copy = open_store(place)
    assert 1 in {row.episode for row in rows_of(copy, discarded=True)} - {row.episode for row in rows_of(copy)}
    copy.close()


def numbers(place: Path) -> list[tuple[int, int]]:
    """Sequence and episode of the rows of a store."""
    store = open_store(place)
    found = [(row.sequence, row.episode) for row in rows_of(store, discarded=True)]
    store.close()
    return found


def test_what_cannot_be_is_said_before_anything_is_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    place = tmp_path / "new"
    for words, expected in (
        (["relearn", str(run), "--reward", REWARD], "give --minutes or --epochs"),
        (["relearn", str(run), "--reward", "3.0", "--epochs", "1"], "the same in all"),
        (["relearn", str(run), "--reward", "pole", "--epochs", "1"], "--reward: "),
        (["relearn", str(run), "--reward", REWARD, "--epochs", "1", "--set", "seed=1"], "--set goes with --preset"),
        (["learn", "--offline", "--epochs", "1"], "there is no store in"),
        (["learn", "--offline", "--epochs", "1", "--steps", "5"], "--steps: not with --offline"),
        (["learn", "--epochs", "1"], "--epochs 1: only with --offline"),
        (["learn", "--freeze", "encoder,,policy"], "expected modules separated by commas"),
    ):
        assert main([*words, "--logdir", str(place)]) == 2, words
        assert expected in capsys.readouterr().err
        assert not list(place.glob("*")), words


def test_a_store_is_learned_from_and_begins_as_another_run_did(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "offline"
    store = ["data", "salvage", str(run), "--output", str(place / "experience.sqlite")]
    place.mkdir()
    assert main(store) == 0
    words = ["learn", "--offline", "--robot", "cartpole", "--preset", "nano", "--logdir", str(place)]
    words += ["--init-from", str(run), "--set", "replay_capacity=50", "--set", "device=cpu"]
    with caplog.at_level("INFO"):
        assert main([*words, "--epochs", "3"]) == 0
        assert main([*words, "--epochs", "4"]) == 0
        assert main([*words, "--epochs", "4"]) == 0
    assert "starting from" in caplog.text and "is not read again" in caplog.text
    assert "the replay holds the last 50 of 120 rows" in caplog.text
    assert "nothing is left to be done" in caplog.text
    assert [json.loads(line) for line in (place / "commands.jsonl").read_text().splitlines()]


def test_a_run_that_was_killed_while_it_wrote_its_last_bundle_gets_it_by_the_same_command(run: Path) -> None:
    words = ["learn", "--offline", "--robot", "cartpole", "--preset", "nano", "--logdir", str(run)]
    words += ["--set", "device=cpu", "--epochs", "2", "--set", "freeze=[reward, policy]"]
    words += ["--set", "demonstrations.imitation=1"]
    assert main(words) == 0
    (whole,) = written_bundles(run / "bundles")
    step = read_bundle(whole, None).manifest.training_step
    whole.write_bytes(b"half of it")
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | {"phase": "saving"}))
    assert main(words) == 0
    newest = written_bundles(run / "bundles")[-1]
    assert read_bundle(newest, None).manifest.training_step == step and newest != whole
    assert json.loads((run / "status.json").read_text())["phase"] == "finished"


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_where_the_runs_device_is_not_there_it_is_relearned_elsewhere(
    device: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No option chose it, nor the CUDA graph, which no other device has: --set goes with --preset alone."""
    (meta,) = run.glob("checkpoints/*/meta.json")
    found = json.loads(meta.read_text())
    found["config"]["run"] |= {"device": device, "cuda_graph": True}
    meta.write_text(json.dumps(found))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    place = tmp_path / "new"
    assert main(["relearn", str(run), "--reward", REWARD, "--logdir", str(place), "--epochs", "1"]) == 0
    settings = json.loads((place / "run.json").read_text())["config"]["run"]
    assert (settings["device"], settings["cuda_graph"]) == ("auto", False)


def test_a_store_alone_is_relearned_with_a_preset(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "new"
    words = ["relearn", str(run), "--reward", REWARD, "--logdir", str(place), "--epochs", "1", "--from-scratch"]
    assert main([*words, "--preset", "nano", "--set", "device=cpu"]) == 0
    assert json.loads((place / "run.json").read_text())["config"]["name"].startswith("nano device=cpu")


def test_the_last_rows_of_a_store_wait_for_no_more(tmp_path: Path) -> None:
    """An episode that goes on has 16 + 1 rows: the last of them would wait for a chunk to fill."""
    store = ExperienceStore(tmp_path / "experience.sqlite", load_spec("cartpole"))
    store.add(rows(0, 17))
    store.close()
    words = ["learn", "--offline", "--robot", "cartpole", "--preset", "nano", "--logdir", str(tmp_path)]
    words += ["--set", "device=cpu", "--set", "batch_length=16"]
    assert main([*words, "--epochs", "4"]) == 0
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["replay_size"] == 17
    assert main([*words, "--epochs", "8"]) == 0  # resumed
    assert json.loads((tmp_path / "status.json").read_text())["updates"] > status["updates"]


def test_a_cut_and_resumed_run_takes_them_where_the_uncut_one_did(tmp_path: Path) -> None:
    """Before and behind it an episode is discarded, of which rows were waiting; then more rows come."""

    def begin(folder: Path) -> Trainer:
        trainer = make(folder, offline=True)
        trainer.store.add(rows(0, 70))
        while trainer.ingest():
            pass
        return trainer

    def mark(trainer: Trainer, episode: int) -> None:
        with trainer.store.transaction():
            trainer.store.discard("cartpole", "boot", episode)
        trainer.ingest()

    def later(trainer: Trainer) -> None:
        trainer.store.add(rows(70, 100))
        while trainer.ingest():
            pass
        trainer.ingest_rest()
        trainer.update()

    for when in ("before", "behind"):
        runs = []
        for name in ("whole", "cut"):
            trainer = begin(tmp_path / f"{when}-{name}")
            if when == "before":
                mark(trainer, 2)
            trainer.ingest_rest()
            if when == "behind":
                mark(trainer, 2)
            trainer.update()
            if name == "cut":
                trainer.save()
                trainer.store.close()
                trainer = make(tmp_path / f"{when}-{name}", offline=True)
                assert trainer.resume()
            later(trainer)
            runs.append(trainer)
        whole, cut = runs
        assert whole.replay.state() == cut.replay.state()
        for latent, values in whole.replay.latents.items():
            assert np.array_equal(values, cut.replay.latents[latent])
        theirs = cut.agent.training_state()
        assert all(torch.equal(value, theirs[key]) for key, value in whole.agent.training_state().items())
        for trainer in runs:
            trainer.store.close()


@pytest.mark.parametrize("words", [["learn", "--offline"], ["relearn", "run", "--reward", "1.0"]])
def test_several_processes_are_refused_before_anything_is_opened(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun sets it
    assert main([*words, "--epochs", "1", "--logdir", str(tmp_path / "new")]) == 2
    assert "trains in one process, found 2: start it without torchrun" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
