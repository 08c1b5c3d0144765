"""Commands as messages: one outlet per action, one class per message type of a RobotSpec's Command.

In lockstep a message carries the stamp of the sensors that it answers: a Float64MultiArray in `layout.dim[0].label`
(ns, decimal text; drivers ignore it), the others in their header. Otherwise a TwistStamped carries the time, which
mobile bases check, and a JointTrajectory 0, which means: begin at once.
"""

from __future__ import annotations

import array
from typing import Any, Protocol

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Twist, TwistStamped
from numpy.typing import NDArray
from std_msgs.msg import Float64, Float64MultiArray, MultiArrayDimension
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robot_dreamer.spec import Command
from robot_dreamer.spec.action import ARRAY, FLOAT, TRAJECTORY, TWIST_STAMPED


class Outlet(Protocol):
    """The messages of one action, reused from tick to tick.

    Attributes:
      messages: in the order of the command's topics.
    """

    messages: list[Any]

    def fill(self, numbers: NDArray[np.float64], answers: int, now: int) -> None:
        """Set the message's numbers, shape (size,). The stamp that they answer (0: none) and the present time, ns."""


def make_outlet(command: Command, size: int, period: float) -> Outlet:
    """Empty messages for a command of `size` numbers that is sent every `period` seconds."""
    if command.type == ARRAY:
        return _Array(size)
    if command.type == TRAJECTORY:
        return _Trajectory(command, period)
    return _Floats(size) if command.type == FLOAT else _Twist(command)


class _Array:
    def __init__(self, size: int) -> None:
        self._message = Float64MultiArray()
        self._message.layout.dim = [MultiArrayDimension(label="", size=size, stride=size)]
        self.messages = [self._message]

    def fill(self, numbers: NDArray[np.float64], answers: int, now: int) -> None:
        self._message.data = _doubles(numbers)
        self._message.layout.dim[0].label = str(answers) if answers else ""


class _Trajectory:
    def __init__(self, command: Command, period: float) -> None:
        duration = round((command.time_from_start or period) * 1e9)
        self._point = JointTrajectoryPoint(time_from_start=Duration(**_split(duration)))
        self._field = command.field
        self._message = JointTrajectory(joint_names=list(command.names), points=[self._point])
        self.messages = [self._message]

    def fill(self, numbers: NDArray[np.float64], answers: int, now: int) -> None:
        setattr(self._point, self._field, _doubles(numbers))
        self._message.header.stamp = Time(**_split(answers))


class _Twist:
    def __init__(self, command: Command) -> None:
        self._stamped = TwistStamped() if command.type == TWIST_STAMPED else None
        twist = Twist() if self._stamped is None else self._stamped.twist
        self.messages = [twist if self._stamped is None else self._stamped]
        parts = [name.split(".") for name in command.names]
        self._fields = [(getattr(twist, part), axis) for part, axis in parts]

    def fill(self, numbers: NDArray[np.float64], answers: int, now: int) -> None:
        for (vector, axis), number in zip(self._fields, numbers.tolist(), strict=True):
            setattr(vector, axis, number)
        if self._stamped is not None:
            self._stamped.header.stamp = Time(**_split(answers or now))


class _Floats:
    def __init__(self, size: int) -> None:
        self.messages = [Float64() for _ in range(size)]

    def fill(self, numbers: NDArray[np.float64], answers: int, now: int) -> None:
        for message, number in zip(self.messages, numbers.tolist(), strict=True):
            message.data = number


def _doubles(numbers: NDArray[np.float64]) -> array.array[float]:
    """Other types than array.array are copied element by element."""
    return array.array("d", np.ascontiguousarray(numbers, np.float64).tobytes())


def _split(nanoseconds: int) -> dict[str, int]:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return {"sec": seconds, "nanosec": rest}
