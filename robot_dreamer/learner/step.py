"""One step of the optimisers with part of an update."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from robot_dreamer.learner.objectives.parts import Losses
from robot_dreamer.learner.optimizer import Optimizer
from robot_dreamer.learner.team import Team


def take_step(
    part: Losses,
    optimizers: Mapping[str, Optimizer],
    state: Mapping[str, Tensor],
    so_far: Tensor,
    team: Team | None = None,
) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """Make a step with each group's gradient, and take the new state over; terms, () whether applied, metrics.

    optimizers: by group, changed in place, as `state` is; so_far: () whether all parts of the update before this one
    were applied: nothing is built on one that was not; team: whose gradients are averaged.
    """
    totals, terms = list(part.groups.items()), part.terms
    gradients = [torch.autograd.grad(total, optimizers[group].parameters) for group, total in totals]
    if team:  # a loss that is not finite in one process is so in all
        averages = iter(team.average([*(g for group in gradients for g in group), *terms.values()]))
        gradients = [tuple(next(averages) for _ in group) for group in gradients]
        terms = dict(zip(terms, averages, strict=True))
    finite = torch.stack([torch.isfinite(term) for term in terms.values()]).all() & so_far
    if len(gradients) > 1:  # all groups make their step, or none
        flat = torch.cat([gradient.flatten() for group in gradients for gradient in group])
        finite = finite & torch.isfinite(flat).all()
    applied, metrics = finite, dict[str, Tensor]()
    for (group, _), gradient in zip(totals, gradients, strict=True):
        stepped, found = optimizers[group].step(gradient, finite)
        applied = applied & stepped
        metrics |= {f"{state_prefix(group)}/{name}": value for name, value in found.items()}
    for name, new in part.state.items():
        state[name].copy_(torch.where(applied, new, state[name]))
    return terms, applied, metrics


def state_prefix(group: str) -> str:
    """Under which a group's optimiser keeps its state and reports its metrics."""
    return "optimizer" if group == "all" else f"optimizer/{group}"
