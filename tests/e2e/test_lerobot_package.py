"""What the package lerobot reads of our datasets, and what we read of its own. It needs an environment of its own:

python3.12 -m venv /somewhere && /somewhere/bin/pip install 'lerobot[dataset]'
LEROBOT_PYTHON=/somewhere/bin/python python -m pytest -m soak tests/e2e/test_lerobot_package.py
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("av")

from robot_dreamer.cli import main
from robot_dreamer.spec import load_spec, parse_spec
from tests.unit.test_data_bags import fill, stored
from tests.unit.test_data_lerobot import ARM

PYTHON = os.environ.get("LEROBOT_PYTHON", "")
pytestmark = [pytest.mark.soak, pytest.mark.skipif(not PYTHON, reason="LEROBOT_PYTHON names no Python with lerobot")]

READ = """
import sys, numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
root, output, camera = sys.argv[1:]
dataset = LeRobotDataset("somebody/something", root=root, video_backend="pyav")
frames = [dataset[i] for i in range(len(dataset))]
keys = ["observation.state", "action", "reward", "is_last", "stamp_capture", "timestamp", "episode_index", camera]
found = {key: np.stack([f[key].numpy() for f in frames]) for key in keys}
mean = dataset.meta.stats["observation.state"]["mean"]
np.savez(output, task=frames[0]["task"], episodes=dataset.num_episodes, mean=mean, **found)
"""
WRITE = """
import sys, numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
root, kind = sys.argv[1:]
features = {
    "observation.state": {"dtype": "float32", "shape": (3,), "names": ["grip", "lift", "pan"]},
    "observation.images.top": {"dtype": kind, "shape": (96, 96, 3), "names": ["height", "width", "channels"]},
    "action": {"dtype": "float32", "shape": (2,), "names": ["pan", "lift"]},
    "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
}
dataset = LeRobotDataset.create("somebody/something", fps=10, features=features, root=root, use_videos=kind == "video")
for episode in range(2):
    for t in range(8):
        value = episode * 8 + t
        dataset.add_frame({
            "observation.state": np.array([0, 0.1, 0.05 * value], np.float32),
            "observation.images.top": np.full((96, 96, 3), 15 * value, np.uint8),
            "action": np.array([0.1 * value, 0.5], np.float32),
            "next.reward": np.array([value], np.float32),
            "task": "reach",
        })
    dataset.save_episode()
dataset.finalize()
"""


def run(script: str, *arguments: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([PYTHON, "-c", script, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize("video", [False, True])
def test_lerobot_reads_what_was_exported(tmp_path: Path, video: bool) -> None:
    spec = load_spec("diff_drive_camera")
    made = fill(tmp_path / "a.sqlite", spec, rows=30)
    command = ["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "set"), "--format", "lerobot"]
    assert main([*command, *(["--video"] if video else [])]) == 0
    (camera,) = [o.name for o in spec.observations if o.dtype == "uint8"]
    run(READ, str(tmp_path / "set"), str(tmp_path / "found.npz"), f"observation.images.{camera}")
    found = np.load(tmp_path / "found.npz")
    vectors = [o.name for o in spec.observations if o.dtype != "uint8"]
    assert int(found["episodes"]) == 2 and str(found["task"]) == spec.description
    state = np.stack([np.concatenate([row.observation[n] for n in vectors]) for row in made])
    assert found["observation.state"].dtype == np.float32
    assert np.array_equal(found["observation.state"].reshape(state.shape), state)
    np.testing.assert_allclose(np.ravel(found["mean"]), state.mean(0), atol=1e-6)
    action = np.stack([row.action[spec.actions[0].name] for row in made])
    assert np.array_equal(found["action"].reshape(action.shape), action)
    assert np.array_equal(np.ravel(found["reward"]), np.array([row.reward for row in made], np.float32))
    assert np.array_equal(np.ravel(found["stamp_capture"]), [row.stamp_capture for row in made])
    pixels = np.stack([row.observation[camera] for row in made]).transpose(0, 3, 1, 2)
    seen = np.rint(found[f"observation.images.{camera}"] * 255)
    if video:
        said = json.loads((tmp_path / "set/meta/robot_dreamer.json").read_text())["video_loss"]
        assert np.abs(seen - pixels).mean() == pytest.approx(said[f"observation.images.{camera}"], rel=0.02)
    else:
        assert np.array_equal(seen, pixels)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["image", "video"])
def test_what_lerobot_has_written_comes_in(tmp_path: Path, kind: str) -> None:
    run(WRITE, str(tmp_path / "theirs"), kind)
    (tmp_path / "arm.yaml").write_text(ARM)
    command = ["data", "import", str(tmp_path / "theirs"), "--spec", str(tmp_path / "arm.yaml")]
    maps = ["--map", "observation.state=joints", "--map", "observation.images.top=camera"]
    assert main([*command, "--store", str(tmp_path / "b.sqlite"), *maps]) == 0
    rows = stored(tmp_path / "b.sqlite", parse_spec(ARM))
    borders = [(r.episode, r.is_first, r.is_last) for r in rows[6:9]]
    assert borders == [(0, False, False), (0, False, True), (1, True, False)]
    for value, row in enumerate(rows):
        assert abs(float(row.observation["camera"].mean()) - 15 * value) < 4, "the right frame, of the right episode"
        assert row.observation["joints"][0] == pytest.approx(np.cos(0.5 * 0.05 * value), abs=1e-6)
    assert rows[3].reward == 2.0 and rows[7].reward == 6.0 + 7.0
