"""Commands as messages in a bag, both ways: the forms that a RobotSpec's Command can take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.data.bags import message_type
from robot_dreamer.data.headers import duration, header
from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.spec import ActionSpec
from robot_dreamer.spec.action import ARRAY, FLOAT, TRAJECTORY, TWIST_STAMPED, Command

_ZERO = {"x": 0.0, "y": 0.0, "z": 0.0}


def command_messages(action: ActionSpec, numbers: NDArray[np.float64], stamp: int, period: float) -> list[Any]:
    """One message per topic of the command. numbers: of the message, (size,); stamp: ns; period: control period, s."""
    command = action.command
    if command.type == ARRAY:
        return [_array(numbers)]
    if command.type == FLOAT:
        return [message_type(FLOAT)(data=float(x)) for x in numbers]
    if command.type == TRAJECTORY:
        return [_trajectory(command, numbers, period)]
    twist = _twist(command, numbers)
    return [message_type(TWIST_STAMPED)(header=header(stamp), twist=twist) if command.type == TWIST_STAMPED else twist]


def _array(numbers: NDArray[np.float64]) -> Any:
    size = len(numbers)
    dimension = message_type("std_msgs/msg/MultiArrayDimension")(label="", size=size, stride=size)
    layout = message_type("std_msgs/msg/MultiArrayLayout")(dim=[dimension], data_offset=0)
    return message_type(ARRAY)(layout=layout, data=np.asarray(numbers, np.float64))


def _trajectory(command: Command, numbers: NDArray[np.float64], period: float) -> Any:
    fields = {name: np.zeros(0) for name in ("positions", "velocities", "accelerations", "effort")}
    fields[command.field] = np.asarray(numbers, np.float64)
    reach = duration(round((command.time_from_start or period) * 1e9))
    point = message_type("trajectory_msgs/msg/JointTrajectoryPoint")(**fields, time_from_start=reach)
    return message_type(TRAJECTORY)(header=header(0), joint_names=list(command.names), points=[point])


def _twist(command: Command, numbers: NDArray[np.float64]) -> Any:
    parts = {"linear": dict(_ZERO), "angular": dict(_ZERO)}
    for name, number in zip(command.names, numbers, strict=True):
        part, _, axis = name.partition(".")
        parts[part][axis] = float(number)
    vector = message_type("geometry_msgs/msg/Vector3")
    return message_type("geometry_msgs/msg/Twist")(**{part: vector(**axes) for part, axes in parts.items()})


class CommandReader:
    """The newest command of one action, in units, from its messages."""

    def __init__(self, action: ActionSpec) -> None:
        self._action = action
        self._numbers = np.zeros(action.size)
        self._silent = set(action.command.topics)

    @property
    def ready(self) -> bool:
        """Each topic has spoken."""
        return not self._silent

    def receive(self, topic: str, message: Any) -> None:
        """Take a message from one of the command's topics (named as in the spec).

        Raises:
          ObservationError: it does not fit the spec; says what was expected and what was found.
        """
        command = self._action.command
        self._silent.discard(topic)
        if command.type == FLOAT:
            self._numbers[command.topics.index(topic)] = message.data
            return
        if command.type == ARRAY:
            found = np.asarray(message.data, np.float64)
        elif command.type == TRAJECTORY:
            found = self._point(message)
        else:
            twist = message.twist if command.type == TWIST_STAMPED else message
            found = np.array([getattr(getattr(twist, n.split(".")[0]), n.split(".")[1]) for n in command.names])
        if found.shape != self._numbers.shape:
            raise ObservationError(f"topic {topic}: expected {self._action.size} numbers, found {len(found)}")
        self._numbers = found

    def command(self) -> NDArray[np.float64]:
        """(size,) in units, once `ready`. Raises ObservationError for NaN or infinity."""
        if not np.isfinite(self._numbers).all():
            raise ObservationError(f"action {self._action.name}: expected finite numbers, found {self._numbers}")
        return self._action.command.from_message(self._numbers)

    def _point(self, message: Any) -> NDArray[np.float64]:
        command = self._action.command
        missing = [name for name in command.names if name not in message.joint_names]
        if missing or not message.points:
            raise ObservationError(
                f"topic {command.topic}: expected a point of {list(command.names)}, "
                f"found {len(message.points)} points of {list(message.joint_names)}"
            )
        values = np.asarray(getattr(message.points[-1], command.field), np.float64)
        if len(values) != len(message.joint_names):
            raise ObservationError(
                f"topic {command.topic}: expected {len(message.joint_names)} {command.field}, found {len(values)}"
            )
        return values[[list(message.joint_names).index(name) for name in command.names]]
