"""Statistics of a whole batch, where several processes hold an equal part of it each."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

JoinRows = Callable[[Tensor], Tensor]
"""Gives the rows of all processes, one part after the other, from those of this one."""


def whole_batch(rows: Tensor, join_rows: JoinRows | None) -> Tensor:
    """The rows (N, ...) of all processes, without gradient; join_rows: None where one process has them all."""
    return rows.detach() if join_rows is None else join_rows(rows.detach())


def mean_of_parts(value: Tensor, join_rows: JoinRows | None) -> Tensor:
    """Mean over the processes of a value (any shape) that each has of its part, without gradient."""
    return whole_batch(value.unsqueeze(0), join_rows).mean(0)
