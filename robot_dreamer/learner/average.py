"""The policy whose parameters are averaged over the last updates: what bundles are made of, where it is asked for.

With the large steps of a small model one policy is often a hundred of return worse than that of a moment before; their
average is as good as the better ones, and steadier (docs/learning.md). What is learned does not depend on it.
Source: Polyak and Juditsky 1992, with the forgetting of torch.optim.swa_utils.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.learner.checkpoint import below

AVERAGE = "average/"  # prefix of its state in a checkpoint
AVERAGED_POLICY = f"{AVERAGE}policy/"  # of the parameters there
_POLICY = AVERAGED_POLICY.removeprefix(AVERAGE)
_Tensors = tuple[Tensor, ...] | list[Tensor]


class PolicyAverage:
    """Mean over the first `updates` updates, then an exponential average with that time constant.

    Args:
      live: the acting step that is trained; it is copied.
      updates: one or more.
    """

    def __init__(self, live: PolicyStep, updates: int) -> None:
        self._live, self._updates = live, updates
        self._model = AveragedModel(live, multi_avg_fn=self._fold)

    @property
    def policy(self) -> PolicyStep:
        """The averaged acting step, with parameters of its own; always the same module."""
        return cast(PolicyStep, self._model.module)

    def add(self) -> None:
        """Take in the parameters as they are after an update."""
        self._model.update_parameters(self._live)

    def restart(self) -> None:
        """Begin anew: other parameters were loaded."""
        self.policy.load_state_dict(self._live.state_dict())
        self._model.n_averaged.zero_()

    def state(self) -> dict[str, Tensor]:
        """By name, for a checkpoint; live tensors."""
        policy = {f"{_POLICY}{name}": tensor for name, tensor in self.policy.state_dict().items()}
        return policy | {"updates": self._model.n_averaged}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state` returned. Raises RuntimeError that names what does not fit."""
        self.policy.load_state_dict(below(tensors, _POLICY))
        self._model.n_averaged.copy_(tensors["updates"])

    def _fold(self, average: _Tensors, live: _Tensors, _: Tensor | int) -> None:
        before = int(self._model.n_averaged)  # on the CPU, whatever the device: nothing waits for it
        torch._foreach_lerp_(average, live, 1 / min(before + 1, self._updates))
