"""Commands as messages, both ways: the forms that a RobotSpec's Command can take.

Only attributes of messages are read and set, and ROS 2 is not imported: the policy node, the simulated robot, a person
who takes over, and bags use the same code.

Out of messages there is one rule: a message is obeyed whole or refused. Refused are another number of numbers, other
joints than the spec's (a real controller refuses them too), another number of points than one (it would not be known
which one is in force), another frame than the spec's, and numbers that are not finite. What is refused changes
nothing.

Into messages: in lockstep a message carries the stamp of the sensors that it answers, a Float64MultiArray in
`layout.dim[0].label` (ns, decimal text; drivers ignore it), the others in their header. Otherwise a TwistStamped
carries the time, which mobile bases check, and a JointTrajectory 0, which means: begin at once.
"""

from __future__ import annotations

import array
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.messages import stamp_of
from robot_dreamer.spec import ActionSpec, Command
from robot_dreamer.spec.action import ARRAY, FLOAT, TRAJECTORY, TWIST_STAMPED


class CommandError(ValueError):
    """A command cannot be obeyed; the message names the action, what was expected and what was found."""


class CommandReader:
    """Commands out of the messages of one action, a topic or one per joint. One thread may read while another asks.

    Joints with a topic of their own age on their own: one that has said nothing, or nothing of late, has its neutral
    number, however often its neighbours speak.

    Attributes:
      topics: of the command, one for all joints or one for each.
    """

    def __init__(self, action: ActionSpec) -> None:
        self.topics = action.command.topics
        self._action = action
        self._command = action.command
        self._heard: dict[str, tuple[float, NDArray[np.float64]]] = {}  # by topic: when, and the numbers in units

    def read(self, topic: str, message: Any, now: float = 0.0) -> tuple[NDArray[np.float64], str]:
        """The command in units, shape (size,), and the stamp that it answers (ns, decimal text; empty: it says none).

        Args:
          topic: one of the command's, named as in the spec.
          now: seconds, by whatever clock `command` and `silent` are asked with.

        Raises:
          CommandError: see the module.
        """
        command = self._command
        if command.type == FLOAT:
            numbers = command.to_message(self._action.neutral_command()).copy()
            numbers[command.topics.index(topic)] = message.data
        elif command.type == ARRAY:
            numbers = np.array(message.data, np.float64)
        elif command.type == TRAJECTORY:
            numbers = self._point(message)
        else:
            frame = message.header.frame_id if command.frame else ""
            if frame not in ("", command.frame):
                raise self._error(f"frame {command.frame}", frame)
            numbers = np.array([getattr(*place) for place in _places(command, message)], np.float64)
        if numbers.shape != (self._action.size,) or not np.isfinite(numbers).all():
            raise self._error(f"{self._action.size} finite numbers", numbers)
        self._heard[topic] = (now, command.from_message(numbers))
        stamp = stamp_of(message) if command.has_stamp else 0
        return self._joined(self._heard), str(stamp) if stamp else ""

    def command(self, since: float = -math.inf) -> NDArray[np.float64] | None:
        """The command by what was heard at `since` or later; None: nothing was."""
        fresh = {topic: heard for topic, heard in self._heard.copy().items() if heard[0] >= since}
        return self._joined(fresh) if fresh else None

    def silent(self, since: float = -math.inf) -> list[str]:
        """Topics of the command that have said nothing since then."""
        heard = self._heard
        return [topic for topic in self.topics if topic not in heard or heard[topic][0] < since]

    def forget(self) -> None:
        """As if nothing had been heard."""
        self._heard = {}

    def _joined(self, heard: Mapping[str, tuple[float, NDArray[np.float64]]]) -> NDArray[np.float64]:
        if self._command.type != FLOAT:
            return heard[self._command.topics[0]][1]
        joined = self._action.neutral_command()
        for joint, topic in enumerate(self._command.topics):
            if topic in heard:
                joined[joint] = heard[topic][1][joint]
        return joined

    def _point(self, message: Any) -> NDArray[np.float64]:
        names, wanted = list(message.joint_names), list(self._command.names)
        if sorted(names) != sorted(wanted):
            raise self._error(f"joints {wanted}", names)
        if len(message.points) != 1:
            raise self._error("one point", len(message.points))
        numbers = np.array(getattr(message.points[0], self._command.field), np.float64)
        return numbers[[names.index(n) for n in wanted]] if len(numbers) == len(names) else numbers

    def _error(self, expected: str, found: object) -> CommandError:
        return CommandError(f"command {self._action.name}: expected {expected}, found {found}")


class CommandWriter(Protocol):
    """The messages of one action, reused from tick to tick.

    Attributes:
      messages: in the order of the command's topics.
    """

    messages: list[Any]

    def fill(self, numbers: NDArray[np.float64], answers: int, now: int) -> None:
        """Set the messages' numbers, shape (size,). The stamp that they answer (0: none) and the present time, ns."""


NewMessage = Callable[[str], Any]
"""Makes an empty message of a type such as std_msgs/msg/Float64: that of robot_dreamer.ros_types, or that of bags."""


def make_writer(command: Command, size: int, period: float, new: NewMessage) -> CommandWriter:
    """Empty messages for a command of `size` numbers that is sent every `period` seconds."""
    if command.type == ARRAY:
        return _Array(size, new)
    if command.type == TRAJECTORY:
        return _Trajectory(command, period, new)
    return _Floats(size, new) if command.type == FLOAT else _Twist(command, new)


class _Array:
    def __init__(self, size: int, new: NewMessage) -> None:
        self._message = new(ARRAY)
        self._dimension = new("std_msgs/msg/MultiArrayDimension")
        self._dimension.size = self._dimension.stride = size
        self._message.layout.dim = [self._dimension]
        self.messages = [self._message]

    def fill(self, numbers: NDArray[np.float64], answers: int, now: int) -> None:
        _set_numbers(self._message, "data", numbers)
        self._dimension.label = str(answers) if answers else ""


class _Trajectory:
    def __init__(self, command: Command, period: float, new: NewMessage) -> None:
        self._point = new("trajectory_msgs/msg/JointTrajectoryPoint")
        _set_time(self._point.time_from_start, round((command.time_from_start or period) * 1e9))
        self._field = command.field
        self._message = new(TRAJECTORY)
        self._message.joint_names = list(command.names)
        self._message.points = [self._point]
        self.messages = [self._message]

    def fill(self, numbers: NDArray[np.float64], answers: int, now: int) -> None:
        _set_numbers(self._point, self._field, numbers)
        _set_time(self._message.header.stamp, answers)


class _Twist:
    def __init__(self, command: Command, new: NewMessage) -> None:
        self._message = new(command.type)
        self._stamped = command.type == TWIST_STAMPED
        self._fields = _places(command, self._message)
        if self._stamped:
            self._message.header.frame_id = command.frame
        self.messages = [self._message]

    def fill(self, numbers: NDArray[np.float64], answers: int, now: int) -> None:
        for (vector, axis), number in zip(self._fields, numbers.tolist(), strict=True):
            setattr(vector, axis, number)
        if self._stamped:
            _set_time(self._message.header.stamp, answers or now)


class _Floats:
    def __init__(self, size: int, new: NewMessage) -> None:
        self.messages = [new(FLOAT) for _ in range(size)]

    def fill(self, numbers: NDArray[np.float64], answers: int, now: int) -> None:
        for message, number in zip(self.messages, numbers.tolist(), strict=True):
            message.data = number


def _places(command: Command, message: Any) -> list[tuple[Any, str]]:
    """Vector and axis of each number of a Twist or TwistStamped."""
    twist = message.twist if command.type == TWIST_STAMPED else message
    parts = [name.split(".") for name in command.names]
    return [(getattr(twist, part), axis) for part, axis in parts]


def _set_numbers(message: Any, field: str, numbers: NDArray[np.float64]) -> None:
    """Messages of bags hold numpy arrays; those of ROS 2 array.array, and copy other types element by element."""
    plain = np.array(numbers, np.float64)
    in_bag = isinstance(getattr(message, field), np.ndarray)
    setattr(message, field, plain if in_bag else array.array("d", plain.tobytes()))


def _set_time(time: Any, nanoseconds: int) -> None:
    time.sec, time.nanosec = divmod(nanoseconds, 1_000_000_000)
