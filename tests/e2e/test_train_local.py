"""`robot-dreamer train --env`: scores, provenance, resume, and messages of bad choices."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from robot_dreamer.cli import main
from robot_dreamer.learner.checkpoint import load_checkpoint
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import RANDOM_POLICY, StepRecord
from robot_dreamer.spec import load_spec
from sim.environments import make_environment

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]


def words(logdir: Path, *options: str) -> list[str]:
    run = ["train", "--env", "gym:CartPole-v1", "--logdir", str(logdir), "--preset", "nano", "--seed", "7"]
    return [*run, "--set", "device=cpu", "--set", "action_repeat=2", *options]


def train(logdir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "robot_dreamer.cli", *words(logdir, *options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)


def first_rows(logdir: Path) -> list[StepRecord]:
    """Of each start of the run."""
    spec = make_environment("gym:CartPole-v1", 0, action_repeat=2).spec
    store = ExperienceStore(logdir / "experience.sqlite", spec)
    rows = [row for _, row in store.read(0, 1000)]
    store.close()
    return [next(row for row in rows if row.boot == boot) for boot in dict.fromkeys(row.boot for row in rows)]


def newest_weights(logdir: Path) -> str:
    with zipfile.ZipFile(max((logdir / "bundles").iterdir())) as bundle:
        return str(json.loads(bundle.read("manifest.json"))["weights"])


def test_a_run_writes_scores_and_resumes_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = train(tmp_path, "--steps", "150")
    assert done.returncode == 0, done.stderr
    first = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert {(row["method"], row["task"], row["seed"]) for row in first} == {("robot_dreamer", "gym_cartpole_v1", "7")}
    ends = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert [(int(row["step"]), float(row["score"])) for row in first] == [
        (2 * e["env_step"], e["return"]) for e in ends
    ]
    assert len(first) >= 2
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["environment"] == "gym:CartPole-v1" and about["config"]["action_repeat"] == 2
    assert about["code"] and about["torch"] and about["machine"]
    updates = load_checkpoint(tmp_path)[1].training_step

    assert newest_weights(tmp_path) == "float32"

    done = train(tmp_path, "--steps", "300", "--set", "bundle_weights=int8")
    assert done.returncode == 0, done.stderr
    assert newest_weights(tmp_path) == "int8"
    assert f"resumed at {updates} updates" in done.stderr
    second = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert second[: len(first)] == first and len(second) > len(first)
    assert load_checkpoint(tmp_path)[1].training_step > updates
    assert "a new episode begins" in done.stderr
    one, other = (row.observation for row in first_rows(tmp_path))  # the first episode is not repeated
    assert all(not np.array_equal(one[name], other[name]) for name in one)

    files = {name: (tmp_path / name).read_text() for name in ("run.json", "commands.jsonl")}
    assert main(words(tmp_path, "--steps", "300", "--set", "model.deter=128")) == 2
    assert "model.deter: ours 128, theirs 64" in capsys.readouterr().err
    assert files == {name: (tmp_path / name).read_text() for name in files}  # the run is told as it was

    said = words(tmp_path, "--steps", "300")
    at = said.index("action_repeat=2")
    assert main([*said[: at - 1], *said[at + 1 :]]) == 0  # what was said once stays: else it were another environment


@pytest.mark.usefixtures("traced_once")
def test_a_generation_with_a_prefill_begins_at_random_and_a_killed_run_repeats_nothing(tmp_path: Path) -> None:
    options = ["--env", "robot:cartpole", "--preset", "dreamer_v1:cpu", "--set", "prefill=64", "--set", "train_ratio=8"]
    for steps in ("96", "128"):
        assert main(["train", *options, "--logdir", str(tmp_path), "--steps", steps]) == 0
        shutil.rmtree(tmp_path / "checkpoints")  # as if it had been killed before the first
    store = ExperienceStore(tmp_path / "experience.sqlite", load_spec("cartpole"))
    rows = [row for _, row in store.read(0, 1000)]
    store.close()
    first, second = ([row for row in rows if row.boot == boot] for boot in dict.fromkeys(row.boot for row in rows))
    assert (len(first), len(second)) == (96, 32)
    random = [row.policy_version == RANDOM_POLICY for row in first]
    assert all(random[:64]) and not any(random[80:])
    assert not any(row.policy_version == RANDOM_POLICY for row in second)
    assert any(not np.array_equal(first[0].observation[name], value) for name, value in second[0].observation.items())


def test_an_action_repeat_on_a_robot_says_how_to_do_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--env", "robot:cartpole", "--preset", "dreamer_v1:dmc_proprio", "--steps", "10"]
    assert main(["train", *options, "--logdir", str(tmp_path)]) == 2
    assert "action_repeat 2 is not for a robot; its RobotSpec has a rate: --set action_repeat=1" in (
        capsys.readouterr().err
    )
