"""Sensor messages to arrays, without cv_bridge. Only what a RobotSpec can name.

Only attributes of messages are read, and ROS 2 is not imported, so that messages from a bag are read by the same code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.spec import Source
from robot_dreamer.spec.observation import IMU, JOINT_STATE, NUMBERS, ODOMETRY

_CHANNELS = {"mono8": 1, "8UC1": 1, "rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4}

_TIME = re.compile(r"[1-9][0-9]{6,18}")  # at most 19 digits: longer ones are no int64, and take long to read
_QUATERNION = (0.9, 1.1)  # norms that rounding and integration explain
_EXACT = 1e-6  # of the norm; below it nothing is changed, so that what was recorded comes back as it was

Reader = Callable[[Any], NDArray[Any]]


def stamp_of(message: Any) -> int:
    """Nanoseconds of a message's header; 0 if there is none. An array may have a stamp as its first label."""
    if not hasattr(message, "header"):
        return time_of(message.layout.dim[0].label) if message.layout.dim else 0
    stamp = message.header.stamp
    seconds, rest = int(stamp.sec), int(stamp.nanosec)
    return seconds * 1_000_000_000 + rest if seconds >= 0 and rest < 1_000_000_000 else 0


def time_of(text: str) -> int:
    """Nanoseconds that a text from outside says; 0 unless it can be a time: decimal ASCII digits, from 1 ms on, int64.

    Text is free: what looks like a number of another kind (a version, an id) is no time.
    """
    return int(text) if _TIME.fullmatch(text) and int(text) < 1 << 63 else 0


def make_reader(source: Source) -> Reader:
    """A function from a message of `source.type` to its values, as `encode_observation` takes them.

    It raises ObservationError (topic, what was expected, what was found) when the message does not have them, and
    nothing else, whatever the message.
    """
    read = _reader(source)

    def guarded(message: Any) -> NDArray[Any]:
        try:
            return read(message)
        except ObservationError:
            raise
        except Exception as error:
            text = f"expected a {source.type} with {source.field}, found one that cannot be read ({error!r:.200})"
            raise ObservationError(f"topic {source.topic}: {text}") from error

    return guarded


def _reader(source: Source) -> Reader:
    if source.type == JOINT_STATE:
        return _JointReader(source)
    if source.type == IMU:
        return lambda message: _read_imu(source, message)
    if source.type == ODOMETRY:
        return lambda message: _read_odometry(source, message)
    if source.type == NUMBERS:
        return lambda message: _read_numbers(source, message)
    return lambda message: _read_image(source, message)


class _JointReader:
    """Picks joints by name: their order in the message is not guaranteed, but rarely changes, so the index is kept."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._names: list[str] | None = None  # of the last message; None before the first
        self._index = np.zeros(0, np.intp)

    def __call__(self, message: Any) -> NDArray[np.float64]:
        source = self._source
        if self._names is None or message.name != self._names:
            twice = [name for name in source.names if message.name.count(name) > 1]
            if twice:
                raise ObservationError(f"topic {source.topic}: expected joint {twice[0]} once, found it twice or more")
            missing = [name for name in source.names if name not in message.name]
            if missing:
                which = f"joint {missing[0]} is" if len(missing) == 1 else f"joints {', '.join(missing)} are"
                raise ObservationError(
                    f"topic {source.topic}: {which} missing, found {', '.join(message.name) or 'none'}"
                )
            self._index = np.array([message.name.index(name) for name in source.names], np.intp)
            self._names = list(message.name)
        values = np.asarray(getattr(message, source.field), np.float64)
        if len(values) != len(self._names):  # drivers may leave velocity or effort empty
            raise ObservationError(
                f"topic {source.topic}: expected {len(self._names)} numbers in {source.field}, found {len(values)}"
            )
        return values[self._index]


def _read_imu(source: Source, message: Any) -> NDArray[np.float64]:
    if getattr(message, f"{source.field}_covariance")[0] == -1.0:  # REP 145
        raise ObservationError(f"topic {source.topic}: this IMU does not provide {source.field} (covariance -1)")
    return _vector(source, getattr(message, source.field))


def _read_odometry(source: Source, message: Any) -> NDArray[np.float64]:
    pose, twist = message.pose.pose, message.twist.twist
    parts = {"position": pose.position, "orientation": pose.orientation}
    parts |= {"linear_velocity": twist.linear, "angular_velocity": twist.angular}
    return _vector(source, parts[source.field])


def _vector(source: Source, value: Any) -> NDArray[np.float64]:
    """x, y, z of a vector or point, x, y, z, w of a quaternion, of norm 1."""
    if not hasattr(value, "w"):
        return np.array([value.x, value.y, value.z])
    quaternion = np.array([value.x, value.y, value.z, value.w])
    norm, (least, most) = float(np.linalg.norm(quaternion)), _QUATERNION
    if not least <= norm <= most:  # of zeros: the field was never filled
        text = f"expected a quaternion of norm 1 ({least} to {most}), found {norm:.4g}"
        raise ObservationError(f"topic {source.topic}: {source.field}: {text}")
    return quaternion if abs(norm - 1.0) <= _EXACT else quaternion / norm


def _read_numbers(source: Source, message: Any) -> NDArray[np.float64]:
    values = np.array(message.data, np.float64)
    if len(values) != len(source.names):
        raise ObservationError(f"topic {source.topic}: expected {len(source.names)} numbers, found {len(values)}")
    return values


def _read_image(source: Source, message: Any) -> NDArray[np.uint8]:
    """Pixels as grey or RGB, C-ordered; a view of the message's bytes where that is possible."""
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        known = ", ".join(_CHANNELS)
        raise ObservationError(f"topic {source.topic}: expected encoding {known}, found {message.encoding!r}")
    height, width, step = message.height, message.width, message.step
    if step < width * channels or len(message.data) != height * step:
        found = f"{len(message.data)} bytes, step {step}"
        raise ObservationError(f"topic {source.topic}: expected {width}x{height} {message.encoding}, found {found}")
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)[:, : width * channels]  # rows may be padded
    pixels = rows.reshape(height, width, channels)
    if channels == 4:
        pixels = pixels[:, :, :3]
    return np.ascontiguousarray(pixels[:, :, ::-1] if message.encoding.startswith("bgr") else pixels)
