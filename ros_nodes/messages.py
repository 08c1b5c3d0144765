"""Sensor messages to arrays, without cv_bridge. Only what a RobotSpec can name.

Only attributes of messages are read, and ROS 2 is not imported, so that messages from a bag are read by the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.spec import Source

_CHANNELS = {"mono8": 1, "8UC1": 1, "rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4}

Reader = Callable[[Any], NDArray[Any]]


def stamp_of(message: Any) -> int:
    """Nanoseconds of a message's header."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def make_reader(source: Source) -> Reader:
    """A function from a message of `source.type` to its values, as `encode_observation` takes them.

    It raises ObservationError (topic, what was expected, what was found) when the message does not have them.
    """
    if source.type == "sensor_msgs/msg/JointState":
        return _JointReader(source)
    if source.type == "sensor_msgs/msg/Imu":
        return lambda message: _read_imu(source, message)
    return lambda message: _read_image(source, message)


class _JointReader:
    """Picks joints by name: their order in the message is not guaranteed, but rarely changes, so the index is kept."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._names: list[str] = []
        self._index = np.zeros(0, np.intp)

    def __call__(self, message: Any) -> NDArray[np.float64]:
        source = self._source
        if message.name != self._names:
            missing = [name for name in source.names if name not in message.name]
            if missing:
                raise ObservationError(f"topic {source.topic}: expected {missing}, found {list(message.name)}")
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
    value = getattr(message, source.field)
    if source.field == "orientation":
        return np.array([value.x, value.y, value.z, value.w])
    return np.array([value.x, value.y, value.z])


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
