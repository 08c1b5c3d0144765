"""Commands out of messages: what the driver of a real robot does with them, and what it would refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from trajectory_msgs.msg import JointTrajectory

from robot_dreamer.spec import ActionSpec
from robot_dreamer.spec.action import ARRAY, FLOAT, TRAJECTORY, TWIST_STAMPED


class CommandError(ValueError):
    """A command cannot be obeyed; the message names the action, what was expected and what was found."""


class Inlet:
    """Reads the messages of one action."""

    def __init__(self, action: ActionSpec) -> None:
        self._action = action
        self._command = action.command
        self._floats = self._command.to_message(action.neutral_command()).copy()  # one topic each

    def read(self, topic: str, message: Any) -> tuple[NDArray[np.float64], str]:
        """The command in units, shape (size,), and the stamp that it answers (ns, decimal text; empty: it says none).

        Raises:
          CommandError: wrong length, other joints, or a number that is not finite.
        """
        numbers, label = self._numbers(topic, message)
        if numbers.shape != (self._action.size,) or not np.isfinite(numbers).all():
            expected = f"{self._action.size} finite numbers"
            raise CommandError(f"command {self._action.name}: expected {expected}, found {numbers}")
        return self._command.from_message(numbers), label

    def _numbers(self, topic: str, message: Any) -> tuple[NDArray[np.float64], str]:
        command = self._command
        if command.type == ARRAY:
            return np.array(message.data, np.float64), message.layout.dim[0].label if message.layout.dim else ""
        if command.type == TRAJECTORY:
            return self._trajectory(message), _label(message)
        if command.type == FLOAT:
            numbers = self._floats.copy()
            numbers[command.topics.index(topic)] = message.data
            if np.isfinite(numbers).all():
                self._floats = numbers
            return numbers, ""
        label = _label(message) if command.type == TWIST_STAMPED else ""
        twist = message.twist if command.type == TWIST_STAMPED else message
        parts = [name.split(".") for name in command.names]
        return np.array([getattr(getattr(twist, part), axis) for part, axis in parts]), label

    def _trajectory(self, message: JointTrajectory) -> NDArray[np.float64]:
        names, wanted = list(message.joint_names), self._command.names
        if sorted(names) != sorted(wanted):
            raise CommandError(f"command {self._action.name}: expected joints {list(wanted)}, found {names}")
        if len(message.points) != 1:
            raise CommandError(f"command {self._action.name}: expected one point, found {len(message.points)}")
        numbers = np.array(getattr(message.points[0], self._command.field), np.float64)
        return numbers[[names.index(n) for n in wanted]] if len(numbers) == len(names) else numbers


def _label(message: Any) -> str:
    stamp = message.header.stamp
    nanoseconds = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
    return str(nanoseconds) if nanoseconds else ""
