"""`python -m export.onnx`: from a checkpoint alone, tables printed, refused above tolerance."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch

from export.onnx import main
from export.trace import fill
from robot_dreamer.config import Config, load_config
from robot_dreamer.learner.agent import Agent
from robot_dreamer.learner.checkpoint import save_checkpoint
from robot_dreamer.learner.checkpoint_meta import FOLDER, Progress
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.spec import load_spec

pytestmark = pytest.mark.usefixtures("traced_once")  # by what is called here; the program itself traces anew
SPEC = load_spec("cartpole")
CONFIG = load_config("nano", ["device=cpu"])
ROOT = Path(__file__).parents[2]


def save(logdir: Path, config: Config = CONFIG) -> None:
    agent = Agent(SPEC.observation_space(), SPEC.action_space(), CONFIG)
    tensors = {f"agent/{name}": value for name, value in agent.training_state().items()} | {"other": torch.zeros(3)}
    progress = Progress(training_step=42, env_step=7, lineage="a run")
    save_checkpoint(logdir / FOLDER, tensors, progress, spec=SPEC, config=config)


def test_a_bundle_from_a_checkpoint(tmp_path: Path) -> None:
    save(tmp_path)
    output = tmp_path / "policy.bundle"
    command = [sys.executable, "-m", "export.onnx", "--checkpoint", str(tmp_path), "--output", str(output)]
    command += ["--steps", "30", "--robot", "cartpole", "--version", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    shown = ("drift over 30 steps", "action_force", "surprise", "PyTorch, eager", "ONNX Runtime", f"written: {output}")
    for text in shown:
        assert text in done.stdout
    bundle = read_bundle(output, SPEC)
    assert (bundle.manifest.version, bundle.manifest.training_step, bundle.manifest.lineage) == (3, 42, "a run")
    assert "version 3 of run a run" in done.stdout
    OnnxPolicy(bundle).verify()


def test_a_bundle_with_int8_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path)
    output = tmp_path / "policy.bundle"
    options = ["--checkpoint", str(tmp_path), "--output", str(output), "--steps", "20", "--weights", "int8"]
    assert main(options) == 0
    assert "int8 weights" in capsys.readouterr().out
    bundle = read_bundle(output, SPEC)
    assert bundle.manifest.weights == "int8"
    OnnxPolicy(bundle).verify()
    assert main([*options, "--tolerance", "1e-6"]) == 1
    assert "differ by more than 1e-06 in " in capsys.readouterr().err


def test_above_tolerance_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path)
    output = tmp_path / "policy.bundle"
    output.write_bytes(b"the one before")

    def tampering_fill(model: onnx.ModelProto, state: dict[str, torch.Tensor]) -> None:
        name = "monitors.value.out.bias"
        fill(model, {**state, name: torch.full_like(state[name], 0.5).cumsum(0)})

    monkeypatch.setattr("export.exporter.fill", tampering_fill)
    assert main(["--checkpoint", str(tmp_path), "--output", str(output), "--steps", "20"]) == 1
    captured = capsys.readouterr()
    assert "ABOVE TOLERANCE" in captured.out
    assert "differ by more than 0.001 in value" in captured.err
    assert output.read_bytes() == b"the one before"
    assert sorted(p.name for p in tmp_path.iterdir()) == [FOLDER, "policy.bundle"]


@pytest.mark.parametrize(
    ("robot", "message"),
    [
        ("cartpole_fast", "rate: ours 50.0, theirs 25.0"),
        ("nobody", "unknown robot 'nobody'; known:"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], robot: str, message: str
) -> None:
    save(tmp_path)
    fast = tmp_path / "fast.yaml"
    fast.write_text((ROOT / "robot_dreamer/robots/cartpole.yaml").read_text().replace("rate: 25.0", "rate: 50.0"))
    options = ["--checkpoint", str(tmp_path), "--output", str(tmp_path / "policy.bundle")]
    options += ["--robot", str(fast) if robot == "cartpole_fast" else robot]
    assert main(options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "policy.bundle").exists()


def test_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--checkpoint", str(tmp_path), "--output", str(tmp_path / "policy.bundle")]) == 2
    assert f"no checkpoint in {tmp_path}" in capsys.readouterr().err


def test_a_run_that_had_a_gpu_is_exported_where_there_is_none(tmp_path: Path) -> None:
    save(tmp_path, CONFIG.with_run(device="cuda", cuda_graph=True, compile=True))
    assert main(["--checkpoint", str(tmp_path), "--output", str(tmp_path / "policy.bundle"), "--steps", "20"]) == 0
