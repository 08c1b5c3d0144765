"""Sensor messages to arrays, without cv_bridge. Only what a RobotSpec can name.

Only attributes of messages are read, and ROS 2 is not imported, so that messages from a bag are read by the same code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.onboard.image_messages import compressed_reader, read_image
from robot_dreamer.spec import Source
from robot_dreamer.spec.source import (
    BATTERY,
    COMPRESSED_IMAGE,
    IMAGE,
    IMU,
    JOINT_STATE,
    LASER_SCAN,
    NUMBERS,
    ODOMETRY,
    POSE,
    RANGE,
    TWIST,
    TWIST_STAMPED,
    WRENCH,
)

_TIME = re.compile(r"[1-9][0-9]{6,18}")  # at most 19 digits: longer ones are no int64, and take long to read
_QUATERNION = (0.9, 1.1)  # norms that rounding and integration explain
_EXACT = 1e-6  # of the norm; below it nothing is changed, so that what was recorded comes back as it was

Reader = Callable[[Any], NDArray[Any]]


def stamp_of(message: Any) -> int:
    """Nanoseconds of a message's header; 0 if there is none. An array may have a stamp as its first label."""
    if not hasattr(message, "header"):
        layout = getattr(message, "layout", None)  # a Twist has none
        return time_of(layout.dim[0].label) if layout is not None and layout.dim else 0
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
    if source.type == COMPRESSED_IMAGE:
        return compressed_reader(source)
    if source.type in VECTORS:
        part = attrgetter(VECTORS[source.type].get(source.field, source.field))
        return lambda message: _vector(source, part(message))
    return partial(_READERS[source.type], source)


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


def _read_battery(source: Source, message: Any) -> NDArray[np.float64]:
    value = float(getattr(message, source.field))
    if math.isnan(value):
        raise ObservationError(f"topic {source.topic}: this battery does not measure {source.field} (NaN)")
    return np.array([value])


def _read_range(source: Source, message: Any) -> NDArray[np.float64]:
    """[1], see `_seen`."""
    return _seen(source, np.array([message.range], np.float64), message.min_range, message.max_range)


def _read_scan(source: Source, message: Any) -> NDArray[np.float64]:
    """The nearest distance of each of `beams` equal sectors, in the order of the scan, [beams]."""
    distances = np.asarray(message.ranges, np.float64)
    if len(distances) < source.beams:
        text = f"expected {source.beams} distances or more, found {len(distances)}"
        raise ObservationError(f"topic {source.topic}: {text}")
    first = np.arange(source.beams) * len(distances) // source.beams
    return np.minimum.reduceat(_seen(source, distances, message.range_min, message.range_max), first)


def _seen(source: Source, distances: NDArray[np.float64], nearest: float, farthest: float) -> NDArray[np.float64]:
    """Where the sensor saw nothing, inf: beyond its limits (which drivers write as 0, too), and NaN. -inf is an object
    too near to measure (REP 117), and stays."""
    if not (farthest > 0.0 and nearest <= farthest):  # nobody filled them in, and all that is near would look free
        found = f"found nearest {nearest:g}, farthest {farthest:g}; let its driver fill them in"
        raise ObservationError(f"topic {source.topic}: expected the limits of the sensor, {found}")
    valid = (distances >= nearest) & (distances <= farthest) | np.isneginf(distances)
    return np.where(valid, distances, np.inf)


_READERS: Mapping[str, Callable[[Source, Any], NDArray[Any]]] = {
    IMAGE: read_image,
    IMU: _read_imu,
    NUMBERS: _read_numbers,
    BATTERY: _read_battery,
    RANGE: _read_range,
    LASER_SCAN: _read_scan,
}
VECTORS: Mapping[str, Mapping[str, str]] = {
    ODOMETRY: {
        "position": "pose.pose.position",
        "orientation": "pose.pose.orientation",
        "linear_velocity": "twist.twist.linear",
        "angular_velocity": "twist.twist.angular",
    },
    POSE: {"position": "pose.position", "orientation": "pose.orientation"},
    TWIST: {},
    TWIST_STAMPED: {"linear": "twist.linear", "angular": "twist.angular"},
    WRENCH: {"force": "wrench.force", "torque": "wrench.torque"},
}
"""By type of plain vectors: where the field of a name stands in the message, if it is not there under that name."""
