"""The part of a RobotSpec that says where observations come from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec.check import require, require_name, require_range, require_topic
from robot_dreamer.spec.units import disagreement

JOINT_STATE = "sensor_msgs/msg/JointState"
IMU = "sensor_msgs/msg/Imu"
IMAGE = "sensor_msgs/msg/Image"
ODOMETRY = "nav_msgs/msg/Odometry"
NUMBERS = "std_msgs/msg/Float64MultiArray"

_FIELDS: Mapping[str, tuple[str, ...]] = {
    JOINT_STATE: ("position", "velocity", "effort"),
    IMU: ("orientation", "angular_velocity", "linear_acceleration"),
    IMAGE: ("data",),
    ODOMETRY: ("position", "orientation", "linear_velocity", "angular_velocity"),
    NUMBERS: ("data",),
}
_NAMED = (JOINT_STATE, NUMBERS)


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value comes from: one field of one ROS 2 topic.

    JointState is also the carrier of stamped, named scalars such as the reward, because ROS 2's common
    messages have no other. Of a JointState `names` picks joints (or scalars), in this order; of a Float64MultiArray it
    names all numbers.
    """

    topic: str
    type: Literal[
        "sensor_msgs/msg/JointState",
        "sensor_msgs/msg/Imu",
        "sensor_msgs/msg/Image",
        "nav_msgs/msg/Odometry",
        "std_msgs/msg/Float64MultiArray",
    ]
    field: str
    names: tuple[str, ...] = ()
    max_age: float = 0.5  # seconds; older is stale

    def __post_init__(self) -> None:
        require_topic(self.topic)
        known = _FIELDS[self.type]
        require(self.field in known, f"field {self.field!r} is not one of {', '.join(known)} of {self.type}")
        require(0 < self.max_age < math.inf, f"max_age must be positive seconds, found {self.max_age}")
        if self.type in _NAMED:
            what = "the joints to read from a JointState" if self.type == JOINT_STATE else "all numbers of the array"
            require(bool(self.names), f"names must list {what}")
            require(len(set(self.names)) == len(self.names), f"names has a duplicate: {', '.join(self.names)}")
        else:
            require(not self.names, f"names is for JointState and Float64MultiArray only, not for {self.type}")


class Picture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a camera shows, where it is more than the policy sees. The part is shrunk to the observation's shape."""

    size: tuple[int, int]  # height, width
    crop: tuple[int, ...] = ()  # top, left, height, width of the part; default: all of it

    def __post_init__(self) -> None:
        require(all(n > 0 for n in self.size), f"size must be positive, found {list(self.size)}")
        require(len(self.crop) in (0, 4), f"crop needs top, left, height and width, found {list(self.crop)}")
        if self.crop:
            top, left, height, width = self.crop
            inside = min(top, left) >= 0 and min(height, width) > 0
            inside = inside and top + height <= self.size[0] and left + width <= self.size[1]
            require(inside, f"crop {list(self.crop)} must lie within size {list(self.size)}")

    @property
    def part(self) -> tuple[int, int]:
        """Height and width of what remains after the crop."""
        return (self.crop[2], self.crop[3]) if self.crop else self.size


PICTURE_SIDES = tuple(range(48, 257, 16))
"""Heights and widths of pictures that a network takes: it halves them four times, and must have something left."""


class ObservationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One observation: an array of fixed shape and dtype, read from one source."""

    name: str
    shape: tuple[int, ...]
    source: Source
    dtype: Literal["float32", "uint8"] = "float32"
    unit: str = ""
    encoding: Literal["raw", "cos_sin"] = "raw"  # cos_sin: each angle becomes (cos, sin)
    scale: tuple[float, ...] = ()  # per name: observation = scale * message + offset; default 1
    offset: tuple[float, ...] = ()  # default 0
    range: tuple[float, ...] = ()  # lowest and highest possible number; rows outside are refused; default: any finite
    picture: Picture | None = None  # images: size and part of the camera's picture; default: it has the right shape

    def __post_init__(self) -> None:
        require_name(self.name)
        require(all(n > 0 for n in self.shape), f"shape must be positive, found {list(self.shape)}")
        for label, numbers in (("scale", self.scale), ("offset", self.offset)):
            expected = len(self.source.names)
            text = f"{label} needs {expected} numbers (one per name), found {len(numbers)}"
            require(len(numbers) in (0, expected), text)
            require(all(math.isfinite(x) for x in numbers), f"{label} must be finite")
        require(all(self.scale), "scale must not be 0")
        require_range("range", self.range)
        raw = self.dtype == "float32" and self.encoding == "raw"
        require(raw or not self.range, "range is for raw numbers only: pictures, cosines and sines have theirs")
        if self.source.type == IMAGE:
            require(self.dtype == "uint8", "dtype of an image must be uint8")
            require(
                len(self.shape) == 3 and self.shape[2] in (1, 3), "shape of an image must be [height, width, 1 or 3]"
            )
            require(self.encoding == "raw", "encoding of an image must be raw")
            if self.picture is not None:
                smaller = all(few <= many for few, many in zip(self.shape, self.picture.part, strict=False))
                part, shape = list(self.picture.part), list(self.shape[:2])
                require(smaller, f"pictures are only made smaller: {part} cannot become {shape}")
            return
        require(self.picture is None, "picture is for images only")
        problem = disagreement(self.unit, "rad") if self.encoding == "cos_sin" else ""
        require(not problem, f"unit of {self.name}, for encoding cos_sin: {problem}")
        require(self.dtype == "float32", "dtype must be float32 for everything but images")
        width = len(self.source.names) or (4 if self.source.field == "orientation" else 3)
        width *= 2 if self.encoding == "cos_sin" else 1
        require(
            self.shape == (width,), f"shape must be [{width}] to fit its source and encoding, found {list(self.shape)}"
        )

    @property
    def components(self) -> tuple[str, ...]:
        """What each number is called, in the order of the flattened value; empty for pictures."""
        if self.dtype == "uint8":
            return ()
        names = self.source.names or tuple("xyzw")[: self.shape[0] // (2 if self.encoding == "cos_sin" else 1)]
        if self.encoding == "cos_sin":
            return tuple(f"{function} {name}" for name in names for function in ("cos", "sin"))
        return names

    def from_message(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers in the driver's units and the order of `source.names` -> in `unit`."""
        if self.scale:
            numbers = numbers * np.asarray(self.scale)
        return numbers + np.asarray(self.offset) if self.offset else numbers

    def to_message(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `from_message`."""
        if self.offset:
            numbers = numbers - np.asarray(self.offset)
        return numbers / np.asarray(self.scale) if self.scale else numbers
