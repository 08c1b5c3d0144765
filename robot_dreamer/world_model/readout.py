"""What a world model says of rows in given states, in the units of the sensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from robot_dreamer.world_model.distributions import MSE, Categorical, SymlogMSE
from robot_dreamer.world_model.fields import Field


class Readout(NamedTuple):
    """Predictions for N rows."""

    observation: dict[str, Tensor]
    """(N, *shape) each: images in [0, 1], the most likely class, everything else as it is measured."""
    reward: Tensor | None
    """(N), as the model learns it (see `model.tanh_rewards`); None where it predicts none."""
    live: Tensor | None
    """(N) what its continue head says, see `continue_label`; None where it has none."""


def mean_observations(
    outputs: Mapping[str, MSE | SymlogMSE | Categorical], images: list[Field], offset: float = 0.0
) -> dict[str, Tensor]:
    """What a decoder's distributions have in their middle; offset: what its code of a black pixel is below 0."""
    means = {k: v.log_probs.argmax(-1) if isinstance(v, Categorical) else v.mean for k, v in outputs.items()}
    return means | {field.name: (means[field.name] + offset).clamp(0, 1) for field in images}
