"""What the word of a person at the robot is worth."""

from __future__ import annotations

import math

import msgspec

from robot_dreamer.spec.check import require


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rewards that a person gives by ending an episode, in addition to those of the row that ends it."""

    success: float = 0.0
    failure: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("success", self.success), ("failure", self.failure)):
            require(math.isfinite(value), f"{name} must be a finite number, found {value}")
