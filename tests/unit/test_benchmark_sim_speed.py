"""The benchmark of simulation speed: it runs the same model with the same number of physics steps both ways."""

from __future__ import annotations

import pytest

pytest.importorskip("dm_control")
from benchmarks.sim_speed import Result, line, measure


def test_a_robot_is_measured_beside_its_bare_model_and_its_task() -> None:
    result = measure("cartpole", ticks=3, rounds=2)
    assert (result.robot, result.steps) == ("cartpole", 4)
    assert result.share > 0 and result.of_task is not None and result.of_task > 0
    assert line(Result("cartpole", 4, 0.305, 0.95)) == "| `cartpole` | 4 | 30% | 95% |"


def test_a_model_of_ones_own_has_no_task_to_be_measured_beside() -> None:
    result = measure("turtlebot", ticks=2, rounds=1)
    assert result.of_task is None and line(result).endswith("% |  |")
