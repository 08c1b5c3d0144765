"""The benchmark of simulation speed: it runs the same model with the same number of physics steps both ways."""

from __future__ import annotations

import pytest

pytest.importorskip("dm_control")
from benchmarks.sim_speed import Result, line, measure


def test_a_robot_is_measured_beside_its_bare_model() -> None:
    result = measure("cartpole", ticks=3, rounds=2)
    assert (result.robot, result.steps) == ("cartpole", 4)
    assert 0 < result.share < 1
    assert line(Result("cartpole", 4, 0.305)) == "| `cartpole` | 4 | 30% |"
