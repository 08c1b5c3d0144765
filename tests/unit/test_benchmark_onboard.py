"""The table of the generations: what fits half a control period. The measurement itself is run by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.family import Member
from benchmarks.onboard import budget_line


@pytest.mark.parametrize(("slow", "fits"), [(0, "yes"), (1, "yes"), (3, "NO")])
def test_a_step_fits_if_99_of_100_are_within_half_a_period(slow: int, fits: str) -> None:
    times = np.full(100, 19.0)
    times[:slow] = 60.0
    columns = budget_line(Member("PlaNet", "planet:cpu", "cartpole_slow"), 12.5, times).split()
    assert columns[:4] == ["planet:cpu", "cartpole_slow", "40.0", "19.000"]
    assert columns[-1] == fits
