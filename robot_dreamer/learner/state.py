"""The training state: its tensors by name, and comparing a stored one with the one it is loaded into."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from robot_dreamer.learner.adam import Trained
from robot_dreamer.learner.optimizer import Optimizer
from robot_dreamer.learner.step import state_prefix

_log = logging.getLogger(__name__)


def named_state(model: nn.Module, trained: Trained, optimizers: Mapping[str, Optimizer]) -> dict[str, Tensor]:
    """Live tensors of parameters and optimisers by name."""
    state: dict[str, Tensor] = {f"model/{name}": parameter.data for name, parameter in model.named_parameters()}
    for group, optimizer in optimizers.items():
        for moment in ("first_moment", "second_moment"):
            views = optimizer.views(getattr(optimizer, moment))
            names = [name for name, _ in trained[group]]
            state |= {f"optimizer/{moment}/{name}": view for name, view in zip(names, views, strict=True)}
        state[f"{state_prefix(group)}/step_count"] = optimizer.step_count
    return state


def check_tensors(own: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    """Raise ValueError that names tensors that are missing, unexpected, or of another shape than our own."""
    problems = [f"missing {name}" for name in sorted(own.keys() - stored.keys())]
    problems += [f"unexpected {name}" for name in sorted(stored.keys() - own.keys())]
    problems += [
        f"{name}: expected {tuple(own[name].shape)}, found {tuple(stored[name].shape)}"
        for name in sorted(own.keys() & stored.keys())
        if own[name].shape != stored[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        raise ValueError(f"the stored training state does not fit this agent: {shown}")


def restore_generator(generator: torch.Generator, stored: Mapping[str, Tensor], entropy: Sequence[int]) -> None:
    """Let a generator go on from the stored state "generator"; entropy: what it begins anew from where it can not."""
    state = stored.get("generator")
    if state is not None and state.shape == generator.get_state().shape:
        generator.set_state(state.cpu())
        return
    found = "none" if state is None else f"one of {state.numel()} bytes"
    _log.warning(
        "random numbers begin anew: the state on %s has %d bytes, the checkpoint has %s, as another kind of device has",
        generator.device,
        generator.get_state().numel(),
        found,
    )
    generator.manual_seed(int(np.random.SeedSequence(list(entropy)).generate_state(1)[0]))
