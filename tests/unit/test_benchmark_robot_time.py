"""benchmarks/robot_time.py: minutes of the robot's clock to a share of what it came to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from benchmarks.robot_time import Learned, read, table
from tests.made_up_runs import make_run


def learned(seed: int, knee: int) -> Learned:
    """10 up to episode `knee`, 110 from then on; an episode a minute."""
    returns = [10.0] * knee + [110.0] * (100 - knee)
    return Learned("arm", "cpu_small", seed, [float(i + 1) for i in range(100)], returns, 10.0, 110.0, 12.5, 80.0)


def test_a_level_is_reached_by_the_mean_of_ten_episodes() -> None:
    run = learned(0, 40)
    assert run.reached(0.5) == 45.0 and run.reached(0.9) == 49.0  # five, nine of the last ten
    assert run.reached(1.1) == np.inf


def test_the_table_has_means_and_intervals_over_seeds() -> None:
    (row,) = table([learned(0, 40), learned(1, 50)]).splitlines()[2:]
    assert "| arm | `cpu_small` | 2 | 10 | 110 (110 to 110) | 50.0 (" in row and "| 12.5, 80.0 |" in row
    never = Learned("arm", "cpu_small", 2, [float(i) for i in range(20)], [0.0] * 20, 0.0, 50.0, 1.0, 1.0)
    (row,) = table([learned(0, 40), never]).splitlines()[2:]
    assert "not reached in 1 of 2" in row


def test_a_run_that_has_gone_on_is_not_measured_by_what_it_was(tmp_path: Path) -> None:
    logdir = make_run(tmp_path, episodes=30)
    run = json.loads((logdir / "run.json").read_text())
    run["config"]["name"] = "nano seed=3 train_ratio=64"
    (logdir / "run.json").write_text(json.dumps(run))
    found = read(logdir)
    assert (found.preset, found.low, found.high) == ("nano train_ratio=64", 9.0, 25.0)
    (logdir / "bundles").mkdir()
    (logdir / "bundles" / "bundle-00000009.zip").touch()
    evaluation = json.loads((logdir / "evaluation.json").read_text())
    (logdir / "evaluation.json").write_text(json.dumps(evaluation | {"newest_bundle": 8}))
    assert (read(logdir).low, read(logdir).high) == (12.0, 34.5)
