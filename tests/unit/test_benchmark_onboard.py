"""The table of the generations: what fits half a control period. The measurement itself is run by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.family import Member
from benchmarks.onboard import budget_line, multiply_adds


@pytest.mark.parametrize(("slow", "fits"), [(0, "yes"), (1, "yes"), (3, "NO")])
def test_a_step_fits_if_99_of_100_are_within_half_a_period(slow: int, fits: str) -> None:
    times = np.full(100, 19.0)
    times[:slow] = 60.0
    columns = budget_line(Member("PlaNet", "planet:cpu", "cartpole_slow"), 12.5, times).split()
    assert columns[:4] == ["planet:cpu", "cartpole_slow", "40.0", "19.000"]
    assert columns[-1] == fits


def test_multiply_adds_of_convolutions_are_told_from_the_others() -> None:
    picture, row = torch.zeros(1, 3, 8, 8), torch.zeros(1, 6)
    convolution, linear = torch.nn.Conv2d(3, 5, 2, stride=2), torch.nn.Linear(6, 7)
    assert multiply_adds(lambda: (convolution(picture), linear(row))) == (4 * 4 * 5 * 3 * 2 * 2, 6 * 7)
    assert multiply_adds(lambda: linear(row)) == (0, 42)
