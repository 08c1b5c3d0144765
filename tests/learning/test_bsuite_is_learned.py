"""Two of bsuite's experiments are learned by the command: what to catch, and what was shown steps ago.

Needs the extra bsuite, which the tests' environment does not have by itself.
"""

import json

import numpy as np
import pytest

from robot_dreamer.cli import main

pytest.importorskip("bsuite")
pytestmark = [pytest.mark.learn, pytest.mark.timeout(1800)]
LAST = 50  # episodes


@pytest.mark.parametrize(
    ("experiment", "steps", "chance", "learned"),
    [
        ("catch/0", 4000, -0.3, 0.0),  # 1 for a ball that is caught, else -1; of three seeds 0.4, 0.1 and 0.8
        ("memory_len/3", 2000, 0.4, 0.8),  # 1 for the answer that was shown four steps before, else -1
    ],
)
def test_an_experiment_of_bsuite_is_learned(experiment, steps, chance, learned, tmp_path):
    words = ["train", "--env", f"bsuite:{experiment}", "--steps", str(steps), "--set", "train_ratio=256"]
    assert main([*words, "--logdir", str(tmp_path)]) == 0
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    returns = [json.loads(line)["return"] for line in lines]
    assert np.mean(returns[:LAST]) < chance
    assert np.mean(returns[-LAST:]) > learned
