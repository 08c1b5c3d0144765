"""The optimiser's own arithmetic; its agreement with the published code is in tests/golden."""

import pytest
import torch

from robot_dreamer.learner.optimizer import rms


@pytest.mark.parametrize("size", [1, 32768, 2_000_003])
def test_root_mean_square_of_many_equal_steps(size):
    steps = torch.full((size,), 1e-3)
    assert float(rms(steps)) == pytest.approx(1e-3, rel=3e-5)
