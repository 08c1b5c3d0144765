"""Rows -> the messages that the robot's drivers and the policy node would have sent, on the topics of the spec.

They are for people and tools (Foxglove, rqt, other learners). A round trip goes through the archive, because angles
behind a cosine and a sine, and numbers in float32, do not come back bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.data.bags import message_type, new_message
from robot_dreamer.data.headers import header
from robot_dreamer.onboard.command_codec import make_writer
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import ObservationSpec, RobotSpec, Source

_FIELDS = ("position", "velocity", "effort")
_IMU = {"orientation": "xyzw", "angular_velocity": "xyz", "linear_acceleration": "xyz"}
_UNKNOWN = -1.0  # first element of a covariance: not measured (REP 145)


class Message(NamedTuple):
    """A message to write. `stamp`: ns, when it was sent."""

    topic: str
    kind: str
    stamp: int
    message: Any


class TopicWriter:
    """Makes the messages of rows of one spec."""

    def __init__(self, spec: RobotSpec) -> None:
        self._spec = spec
        self._sensors: dict[str, list[ObservationSpec]] = {}
        for observation in spec.observations:
            self._sensors.setdefault(observation.source.topic, []).append(observation)
        self._judges: dict[str, list[tuple[str, Source]]] = {}
        for name, source in spec.signals.items():
            field = "is_terminal" if name == "terminal" else name
            self._judges.setdefault(source.topic, []).append((field, source))

    def messages(self, row: StepRecord) -> Iterator[Message]:
        """Sensors, reward and terminal at the row's capture stamp, commands at its applied stamp."""
        stamp = row.stamp_capture
        for topic, observations in self._sensors.items():
            kind = observations[0].source.type
            yield Message(topic, kind, stamp, self._sensor(kind, observations, row, stamp))
        for topic, judges in self._judges.items():
            known = {(source.names[0], source.field): float(getattr(row, name)) for name, source in judges}
            yield Message(topic, "sensor_msgs/msg/JointState", stamp, _joint_state(known, stamp))
        if not row.is_last:
            for action in self._spec.actions:
                command, sent = action.command, row.stamp_applied
                writer = make_writer(command, action.size, self._spec.period, new_message)
                writer.fill(command.to_message(action.to_command(row.action[action.name])), 0, sent)
                for topic, message in zip(command.topics, writer.messages, strict=True):
                    yield Message(topic, command.type, sent, message)

    def _sensor(self, kind: str, observations: list[ObservationSpec], row: StepRecord, stamp: int) -> Any:
        values = {o.source.field: (o, _source_values(o, row.observation[o.name])) for o in observations}
        if kind == "sensor_msgs/msg/Image":
            return _image(values["data"][1], stamp)
        if kind == "sensor_msgs/msg/Imu":
            return _imu({field: numbers for field, (_, numbers) in values.items()}, stamp)
        if kind == "nav_msgs/msg/Odometry":
            return _odometry({field: numbers for field, (_, numbers) in values.items()}, stamp)
        if kind == "std_msgs/msg/Float64MultiArray":
            return _numbers(values["data"][1], stamp)
        known: dict[tuple[str, str], float] = {}
        for o in observations:
            numbers = _source_values(o, row.observation[o.name])
            known |= {(name, o.source.field): float(x) for name, x in zip(o.source.names, numbers, strict=True)}
        return _joint_state(known, stamp)


def _source_values(spec: ObservationSpec, values: NDArray[Any]) -> NDArray[Any]:
    """Undo `encode_observation`."""
    if spec.encoding == "cos_sin":
        pairs = values.astype(np.float64).reshape(-1, 2)
        values = np.arctan2(pairs[:, 1], pairs[:, 0])
    return spec.to_message(values)


def _joint_state(known: dict[tuple[str, str], float], stamp: int) -> Any:
    """From (joint, field) -> number. A field that only some joints have is NaN for the others."""
    names = list(dict.fromkeys(name for name, _ in known))
    arrays = {
        field: np.array(
            [known.get((name, field), math.nan) for name in names] if any(f == field for _, f in known) else [],
            np.float64,
        )
        for field in _FIELDS
    }
    return message_type("sensor_msgs/msg/JointState")(header=header(stamp), name=names, **arrays)


def _imu(known: dict[str, NDArray[Any]], stamp: int) -> Any:
    parts: dict[str, Any] = {}
    for field, axes in _IMU.items():
        kind = "geometry_msgs/msg/Quaternion" if len(axes) == 4 else "geometry_msgs/msg/Vector3"
        numbers = known.get(field, np.zeros(len(axes)))
        parts[field] = message_type(kind)(**{axis: float(x) for axis, x in zip(axes, numbers, strict=True)})
        covariance = np.zeros(9)
        covariance[0] = 0.0 if field in known else _UNKNOWN
        parts[f"{field}_covariance"] = covariance
    return message_type("sensor_msgs/msg/Imu")(header=header(stamp), **parts)


def _odometry(known: dict[str, NDArray[Any]], stamp: int) -> Any:
    """What no observation shows is 0."""

    def part(kind: str, field: str) -> Any:
        axes = "xyzw" if kind == "Quaternion" else "xyz"
        numbers = known.get(field, np.zeros(len(axes)))
        return message_type(f"geometry_msgs/msg/{kind}")(**dict(zip(axes, map(float, numbers), strict=True)))

    pose = message_type("geometry_msgs/msg/Pose")(part("Point", "position"), part("Quaternion", "orientation"))
    linear, angular = part("Vector3", "linear_velocity"), part("Vector3", "angular_velocity")
    twist = message_type("geometry_msgs/msg/Twist")(linear, angular)
    return message_type("nav_msgs/msg/Odometry")(
        header=header(stamp),
        child_frame_id="",
        pose=message_type("geometry_msgs/msg/PoseWithCovariance")(pose, np.zeros(36)),
        twist=message_type("geometry_msgs/msg/TwistWithCovariance")(twist, np.zeros(36)),
    )


def _numbers(numbers: NDArray[Any], stamp: int) -> Any:
    """It has no header: the first dimension's label is the stamp, ns, as the simulated robot writes it."""
    size = len(numbers)
    dim = message_type("std_msgs/msg/MultiArrayDimension")(label=str(stamp), size=size, stride=size)
    layout = message_type("std_msgs/msg/MultiArrayLayout")(dim=[dim], data_offset=0)
    return message_type("std_msgs/msg/Float64MultiArray")(layout=layout, data=np.asarray(numbers, np.float64))


def _image(pixels: NDArray[np.uint8], stamp: int) -> Any:
    height, width, channels = pixels.shape
    return message_type("sensor_msgs/msg/Image")(
        header=header(stamp),
        height=height,
        width=width,
        encoding="mono8" if channels == 1 else "rgb8",
        is_bigendian=0,
        step=width * channels,
        data=np.ascontiguousarray(pixels).reshape(-1),
    )
