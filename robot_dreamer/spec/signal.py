"""Reward and terminal of a RobotSpec: a named scalar on a topic, or an expression over what the robot measures."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from robot_dreamer.spec.action import ActionSpec
from robot_dreamer.spec.check import require
from robot_dreamer.spec.expression import Variable
from robot_dreamer.spec.observation import ObservationSpec
from robot_dreamer.spec.source import JOINT_STATE, MAX_AGE, PICTURES, Source

_UNIT_BALL = 1.0 + 1e-5  # of a quaternion's numbers: its norm is 1 up to rounding


class Signal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where reward or terminal comes from: `{expression: …}`, or the fields of a `Source` that names one scalar.

    A reward on a topic is summed since the previous row; an expression is the reward of the row whose observation it is
    computed from. Terminal: a scalar above 0.5, or an expression that is a condition.
    """

    topic: str = ""
    type: str = ""
    field: str = ""
    names: tuple[str, ...] = ()
    max_age: float = MAX_AGE  # seconds; older is stale
    expression: str = ""

    def __post_init__(self) -> None:
        given = [name for name in ("topic", "type", "field", "names") if getattr(self, name)]
        if self.expression:
            require(not given, f"give either expression or a topic, not both; found {', '.join(given)} beside it")
            require(self.max_age == MAX_AGE, "max_age is for a topic, not for an expression")
            return
        missing = [name for name in ("topic", "type", "field") if name not in given]
        require(
            not missing, f"needs an expression, or a topic with type, field and names; missing: {', '.join(missing)}"
        )
        require(self.type == JOINT_STATE, f"must come from a {JOINT_STATE}, not from a {self.type}")
        require(len(self.names) == 1, "must name exactly one scalar of a JointState")
        Source(self.topic, "sensor_msgs/msg/JointState", self.field, self.names, self.max_age)  # its checks

    @property
    def source(self) -> Source | None:
        """The topic that it comes from; None of an expression."""
        if self.expression:
            return None
        return Source(self.topic, "sensor_msgs/msg/JointState", self.field, self.names, self.max_age)


def variable_of(quantity: ObservationSpec | ActionSpec) -> Variable:
    """What a quantity's name stands for in an expression: an observation as the policy gets it, an action in units."""
    if isinstance(quantity, ActionSpec):
        rows = quantity.values or (quantity.low, quantity.high)
        low, high = min(map(min, rows)), max(map(max, rows))
        return Variable(quantity.size, quantity.command.names, quantity.unit, low, high)
    if quantity.source.type in PICTURES:
        return Variable(0)
    size = quantity.shape[0]
    if quantity.encoding == "cos_sin":
        return Variable(size, low=-1.0, high=1.0)
    elements = quantity.components
    if quantity.encoding == "projected_gravity":
        return Variable(size, elements, low=-_UNIT_BALL, high=_UNIT_BALL)
    low, high = quantity.range or (-math.inf, math.inf)
    low, high = min(low, float(np.float32(low))), max(high, float(np.float32(high)))  # rows hold float32
    if quantity.source.field == "orientation":
        low, high = max(low, -_UNIT_BALL), min(high, _UNIT_BALL)
    return Variable(size, elements, quantity.unit, low, high)
