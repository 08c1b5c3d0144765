"""What a run begins without: packages that take seconds of the one or two cores that all its programs begin on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LATER = ("matplotlib", "mujoco", "onnxruntime", "scipy", "tensorboard", "torch", "torch._dynamo")
SCRIPT = """
import json, pathlib, sys
{}
print(json.dumps([name for name in sys.argv[1:] if name in sys.modules]))
"""
LEARN = """
from robot_dreamer.commands import learn, records
from tests.agents import nano, random_batch
records.Reporter(pathlib.Path("."))
agent = nano("compile=true")
agent.parts.compiled.wait_for(lambda: False)
batch = random_batch(agent, 1, 5)
agent.observe(batch.observation, batch.action, batch.is_first, None)
agent.update(random_batch(agent, 2, 5))
"""
TRAIN = """
from robot_dreamer.commands.train_split import require_startable
from robot_dreamer.processes import Options
require_startable(Options())
"""


@pytest.mark.parametrize(
    ("program", "needed"),
    [(TRAIN, []), ("import robot_dreamer.settings.sim_robot", []), (LEARN, ["onnxruntime", "torch"])],
)
def test_what_is_needed_later_is_imported_later(program: str, needed: list[str], tmp_path: Path) -> None:
    line = [sys.executable, "-c", SCRIPT.format(program), *LATER]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == needed
