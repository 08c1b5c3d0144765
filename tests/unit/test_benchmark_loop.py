"""The loop benchmark's arithmetic: which misses fall into swaps. The measurement itself is run by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.loop import Result, line, spec_at


def test_misses_are_told_apart_by_swaps() -> None:
    starts = np.arange(100) * 0.01
    missed = np.zeros(100)
    missed[[20, 45, 47, 80]] = 1, 2, 1, 1
    windows = [(0.195, 0.205), (0.40, 0.45)]  # ends at 0.225 and 0.47
    result = Result(100.0, starts, np.full(100, 1e-4), missed, windows, 1, 199, 100, 0.002)
    assert np.flatnonzero(result.in_swaps).tolist() == [20, 21, 22, *range(40, 48)]
    assert float(result.missed[result.in_swaps].sum()) == 4
    columns = line(result).split()
    assert columns[:6] == ["100", "105", "5", "4.762", "2", "4"]
    assert columns[-2:] == ["0.500", "100"]


@pytest.mark.parametrize("rate", [50.0, 200.0])
def test_the_robot_differs_in_rate_only(rate: float) -> None:
    spec = spec_at(rate)
    assert spec.rate == rate and spec.episode.reset_service == ""
    assert [o.name for o in spec.observations] == ["cart_position", "joint_velocity", "pole_angle"]
