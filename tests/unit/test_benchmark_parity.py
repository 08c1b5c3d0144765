"""benchmarks/parity.py: the comparison with the official code can come out either way."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from benchmarks.learning import Run
from benchmarks.parity import EPISODES, OFFICIAL, OFFICIAL_AREA, OFFICIAL_LAST, SETTINGS, compare
from robot_dreamer.config import load_config


def runs(*levels: float) -> list[Run]:
    steps = 1002.0 * np.arange(1, EPISODES + 1)
    return [Run("dmc_cartpole_swingup", i, steps, np.full(EPISODES, x), {}) for i, x in enumerate(levels)]


def test_only_a_difference_that_is_sure_is_a_failure() -> None:
    text, worse = compare(runs(100.0, 110.0, 90.0, 105.0))
    assert worse and "area: ours 101 ± 9 (4 seeds), official 163 ± 20 (4 seeds)" in text and "WORSE" in text
    text, worse = compare(runs(100.0, 250.0, 150.0, 120.0))
    assert not worse and "WORSE" not in text
    assert not compare(runs(300.0, 310.0))[1]


def test_a_run_that_was_cut_is_no_result() -> None:
    (run,) = runs(100.0)
    cut = Run(run.task, 3, run.steps[:7], run.scores[:7], {})
    with pytest.raises(ValueError, match="seed 3: expected 20 episodes, found 7"):
        compare([cut])


def test_the_official_figures_agree_with_each_other() -> None:
    assert np.mean(OFFICIAL, 1) == pytest.approx(OFFICIAL_AREA, abs=1)
    assert len(OFFICIAL_LAST) == len(OFFICIAL)


def test_the_settings_are_known() -> None:
    config = load_config("cpu_small", [f"{name}={value}" for name, value in SETTINGS.items()])
    assert (config.batch_size, config.batch_length, config.train_ratio) == (16, 32, 128)
    assert (config.optimizer.learning_rate, config.behavior.entropy, config.run.precision) == (1e-3, 2e-3, "float32")
