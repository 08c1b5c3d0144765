"""The policy with an exponential moving average (EMA) of its parameters: what bundles are made of, if asked for.

With the large steps of a small model one policy is often a hundred of return worse than that of a moment before; their
average is as good as the better ones, and steadier (docs/learning.md). No gradient depends on it; the experience does,
where robots fly these bundles. Source: Polyak and Juditsky 1992; EMA in place of the mean, as in torch.optim.swa_utils,
whose class would wait for the device at each update.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from robot_dreamer.behavior.policy_step import PolicyStep
from robot_dreamer.learner.state import check_tensors

EMA = "ema/"  # prefix of its state in a checkpoint
_COUNT = "updates"


class PolicyEMA:
    """Mean over the first updates, then an exponential moving average.

    Args:
      live: the acting step that is trained; it is copied.
      updates: time constant, one or more.

    Attributes:
      policy: the averaged acting step, with parameters of its own.
    """

    def __init__(self, live: PolicyStep, updates: int) -> None:
        self._live, self._updates, self._count = live, updates, 0
        self.policy = copy.deepcopy(live).requires_grad_(False)

    @torch.no_grad()
    def add(self) -> None:
        """Take in the parameters as they are after an update, also one that is still on its way on a GPU."""
        self._count += 1
        rate = 1 / min(self._count, self._updates)
        torch._foreach_lerp_(list(self.policy.parameters()), list(self._live.parameters()), rate)
        for own, new in zip(self.policy.buffers(), self._live.buffers(), strict=True):
            own.copy_(new)

    def restart(self) -> None:
        """Begin anew: other parameters were loaded."""
        self.policy.load_state_dict(self._live.state_dict())
        self._count = 0

    def state(self) -> dict[str, Tensor]:
        """By name, for a checkpoint; live tensors."""
        return self.policy.state_dict() | {_COUNT: torch.tensor(self._count)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state` returned. Raises ValueError that names what does not fit; nothing is changed then."""
        load_averaged(self.policy, tensors)
        self._count = int(tensors[_COUNT])


def load_averaged(policy: PolicyStep, tensors: dict[str, Tensor]) -> None:
    """Give an acting step the parameters in what `PolicyEMA.state` returned.

    Raises ValueError that names what does not fit; nothing is changed then.
    """
    own = policy.state_dict()
    check_tensors(own | {_COUNT: torch.zeros((), dtype=torch.int64)}, tensors)
    policy.load_state_dict({name: tensors[name] for name in own})
