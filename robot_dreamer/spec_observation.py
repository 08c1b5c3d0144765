"""The part of a RobotSpec that says where observations come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from robot_dreamer.spec_check import require, require_name

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "sensor_msgs/msg/JointState": ("position", "velocity", "effort"),
    "sensor_msgs/msg/Imu": ("orientation", "angular_velocity", "linear_acceleration"),
    "sensor_msgs/msg/Image": ("data",),
}


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value comes from: one field of one ROS 2 topic.

    JointState is also the carrier of stamped, named scalars such as the reward, because ROS 2's common
    messages have no other.
    """

    topic: str
    type: Literal["sensor_msgs/msg/JointState", "sensor_msgs/msg/Imu", "sensor_msgs/msg/Image"]
    field: str
    names: tuple[str, ...] = ()  # joints (or scalars) to pick, in this order; JointState only
    max_age: float = 0.5  # seconds; older is stale

    def __post_init__(self) -> None:
        require(bool(self.topic), "topic must not be empty")
        known = _FIELDS[self.type]
        require(self.field in known, f"field {self.field!r} is not one of {', '.join(known)} of {self.type}")
        require(0 < self.max_age < math.inf, f"max_age must be positive seconds, found {self.max_age}")
        if self.type == "sensor_msgs/msg/JointState":
            require(bool(self.names), "names must list the joints to read from a JointState")
            require(len(set(self.names)) == len(self.names), f"names has a duplicate: {', '.join(self.names)}")
        else:
            require(not self.names, f"names is for JointState only, not for {self.type}")


class ObservationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One observation: an array of fixed shape and dtype, read from one source."""

    name: str
    shape: tuple[int, ...]
    source: Source
    dtype: Literal["float32", "uint8"] = "float32"
    unit: str = ""
    encoding: Literal["raw", "cos_sin"] = "raw"  # cos_sin: each angle becomes (cos, sin)

    def __post_init__(self) -> None:
        require_name(self.name)
        require(all(n > 0 for n in self.shape), f"shape must be positive, found {list(self.shape)}")
        if self.source.type == "sensor_msgs/msg/Image":
            require(self.dtype == "uint8", "dtype of an image must be uint8")
            require(
                len(self.shape) == 3 and self.shape[2] in (1, 3), "shape of an image must be [height, width, 1 or 3]"
            )
            require(self.encoding == "raw", "encoding of an image must be raw")
            return
        require(self.dtype == "float32", "dtype must be float32 for everything but images")
        width = len(self.source.names) or (4 if self.source.field == "orientation" else 3)
        width *= 2 if self.encoding == "cos_sin" else 1
        require(
            self.shape == (width,), f"shape must be [{width}] to fit its source and encoding, found {list(self.shape)}"
        )
