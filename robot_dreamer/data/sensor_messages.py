"""The messages of sensors, made of what observations know of them; what no observation shows is as in an empty message.

Readers are in `onboard/messages.py`; what is written here, they read again.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.data.bags import message_type, new_message
from robot_dreamer.data.errors import DataError
from robot_dreamer.data.headers import header
from robot_dreamer.onboard.messages import VECTORS
from robot_dreamer.spec import ObservationSpec
from robot_dreamer.spec.source import BATTERY, COMPRESSED_IMAGE, FIELDS, IMAGE, IMU, LASER_SCAN, NUMBERS, RANGE, TWIST

_UNKNOWN = -1.0  # first element of a covariance: not measured (REP 145)

Values = Mapping[str, tuple[ObservationSpec, NDArray[Any]]]
"""By field of the message: what is known of it, in the driver's units, and the observation that it is known from."""


def sensor_message(kind: str, values: Values, stamp: int) -> Any:
    """A message of type `kind`, of any but JointState. stamp: ns."""
    message = new_message(kind)
    if hasattr(message, "header"):
        message.header = header(stamp)
    if kind in VECTORS:
        for field, (_, numbers) in values.items():
            _fill(message, VECTORS[kind].get(field, field), numbers)
        if kind != TWIST and "orientation" in FIELDS[kind] and "orientation" not in values:
            _fill(message, VECTORS[kind]["orientation"], np.array([0.0, 0.0, 0.0, 1.0]))
    else:
        _WRITERS[kind](message, values, stamp)
    return message


def _fill(message: Any, path: str, numbers: NDArray[Any]) -> None:
    for part in path.split("."):
        message = getattr(message, part)
    for axis, number in zip("xyzw", numbers, strict=False):
        setattr(message, axis, float(number))


def _imu(message: Any, values: Values, stamp: int) -> None:
    for field in FIELDS[IMU]:
        if field in values:
            _fill(message, field, values[field][1])
        else:
            getattr(message, f"{field}_covariance")[0] = _UNKNOWN


def _numbers(message: Any, values: Values, stamp: int) -> None:
    """It has no header: the first dimension's label is the stamp, ns, as the simulated robot writes it."""
    _, numbers = values["data"]
    size = len(numbers)
    message.layout.dim = [message_type("std_msgs/msg/MultiArrayDimension")(label=str(stamp), size=size, stride=size)]
    message.data = np.asarray(numbers, np.float64)


def _image(message: Any, values: Values, stamp: int) -> None:
    spec, pixels = values["data"]
    message.height, message.width, channels = pixels.shape
    message.encoding = "mono8" if channels == 1 else "rgb8"
    if spec.range:
        near, far = spec.range
        message.encoding, channels = "32FC1", 4
        pixels = (near + pixels.astype(np.float64) / 255 * (far - near)).astype("<f4").view(np.uint8)
    message.step = message.width * channels
    message.data = np.ascontiguousarray(pixels).reshape(-1)


def _compressed(message: Any, values: Values, stamp: int) -> None:
    """As PNG, which keeps every pixel."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise DataError(f"CompressedImage needs Pillow ({error}): pip install 'robot_dreamer[compressed]'") from error
    _, pixels = values["data"]
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    message.format, message.data = "png", np.frombuffer(file.getvalue(), np.uint8)


def _scan(message: Any, values: Values, stamp: int) -> None:
    spec, distances = values["ranges"]
    message.range_min, message.range_max = spec.range
    message.ranges = np.asarray(distances, np.float32)


def _range(message: Any, values: Values, stamp: int) -> None:
    spec, distance = values["range"]
    message.min_range, message.max_range = spec.range
    message.range = float(distance[0])


def _battery(message: Any, values: Values, stamp: int) -> None:
    for field in FIELDS[BATTERY]:
        setattr(message, field, float(values[field][1][0]) if field in values else math.nan)


_WRITERS: Mapping[str, Callable[[Any, Values, int], None]] = {
    IMU: _imu,
    NUMBERS: _numbers,
    IMAGE: _image,
    COMPRESSED_IMAGE: _compressed,
    LASER_SCAN: _scan,
    RANGE: _range,
    BATTERY: _battery,
}
