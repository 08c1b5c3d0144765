"""What is decided by the mean of a batch is decided by all of it, also where this process has only a part."""

from __future__ import annotations

import math

import pytest
import torch

from robot_dreamer.behavior.returns import AdvantageScale
from robot_dreamer.world_model.kl_rules import floored
from robot_dreamer.world_model.whole_batch import JoinRows, mean_of_parts, whole_batch


def beside(other: float) -> JoinRows:
    """`join_rows` of the first of two processes, whose partner has the same rows with another value."""
    return lambda rows: torch.cat((rows, torch.full_like(rows, other)))


@pytest.mark.parametrize(("own", "other", "passes"), [(1.0, 3.0, True), (3.0, 1.0, True), (2.0, 0.5, False)])
def test_a_floor_is_below_the_mean_of_all_processes(own: float, other: float, passes: bool) -> None:
    mean = torch.tensor(own, requires_grad=True)
    loss = floored(mean, 1.5, beside(other))
    (gradient,) = torch.autograd.grad(loss, mean)
    assert (loss.item(), gradient.item()) == ((own, 1.0) if passes else (1.5, 0.0))


def test_in_one_process_a_floor_is_a_clamp() -> None:
    for value in (0.5, 1.5, 2.5):
        own, clamped = torch.tensor([value, value], requires_grad=True)
        found = torch.autograd.grad(floored(own, 1.5) + clamped.clamp(min=1.5), (own, clamped))
        assert floored(own, 1.5) == clamped.clamp(min=1.5) and found[0] == found[1]
    assert math.isnan(floored(torch.tensor(math.nan), 1.5).item())


def test_a_mean_and_the_rows_of_all() -> None:
    rows = torch.arange(4.0, requires_grad=True)
    joined = whole_batch(rows, beside(9.0))
    assert joined.shape == (8,) and not joined.requires_grad and torch.equal(whole_batch(rows, None), rows)
    assert float(mean_of_parts(rows.mean(), beside(3.5))) == 2.5
    assert float(AdvantageScale.initial().updated(joined, 1.0).mean) == 5.25
