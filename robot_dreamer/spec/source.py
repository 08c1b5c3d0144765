"""Where a value of a robot comes from: one field of one ROS 2 topic, and what numbers that field holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from robot_dreamer.spec.check import require, require_topic

JOINT_STATE = "sensor_msgs/msg/JointState"
IMU = "sensor_msgs/msg/Imu"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
LASER_SCAN = "sensor_msgs/msg/LaserScan"
RANGE = "sensor_msgs/msg/Range"
BATTERY = "sensor_msgs/msg/BatteryState"
ODOMETRY = "nav_msgs/msg/Odometry"
POSE = "geometry_msgs/msg/PoseStamped"
TWIST = "geometry_msgs/msg/Twist"
TWIST_STAMPED = "geometry_msgs/msg/TwistStamped"
WRENCH = "geometry_msgs/msg/WrenchStamped"
NUMBERS = "std_msgs/msg/Float64MultiArray"

PICTURES = (IMAGE, COMPRESSED_IMAGE)
DISTANCES = (LASER_SCAN, RANGE)
_NAMED = (JOINT_STATE, NUMBERS)
_XYZ, _XYZW = ("x", "y", "z"), ("x", "y", "z", "w")
MAX_AGE = 0.5  # seconds, where a spec does not say it

FIELDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    JOINT_STATE: dict.fromkeys(("position", "velocity", "effort"), ()),
    IMU: {"orientation": _XYZW, "angular_velocity": _XYZ, "linear_acceleration": _XYZ},
    IMAGE: {"data": ()},
    COMPRESSED_IMAGE: {"data": ()},
    LASER_SCAN: {"ranges": ()},
    RANGE: {"range": ("range",)},
    BATTERY: {name: (name,) for name in ("voltage", "current", "charge", "percentage", "temperature")},
    ODOMETRY: {"position": _XYZ, "orientation": _XYZW, "linear_velocity": _XYZ, "angular_velocity": _XYZ},
    POSE: {"position": _XYZ, "orientation": _XYZW},
    TWIST: {"linear": _XYZ, "angular": _XYZ},
    TWIST_STAMPED: {"linear": _XYZ, "angular": _XYZ},
    WRENCH: {"force": _XYZ, "torque": _XYZ},
    NUMBERS: {"data": ()},
}
"""Fields by type, each with what its numbers are called; (): the source says it, or it is a picture."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
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
        "sensor_msgs/msg/CompressedImage",
        "sensor_msgs/msg/LaserScan",
        "sensor_msgs/msg/Range",
        "sensor_msgs/msg/BatteryState",
        "nav_msgs/msg/Odometry",
        "geometry_msgs/msg/PoseStamped",
        "geometry_msgs/msg/Twist",
        "geometry_msgs/msg/TwistStamped",
        "geometry_msgs/msg/WrenchStamped",
        "std_msgs/msg/Float64MultiArray",
    ]
    field: str
    names: tuple[str, ...] = ()
    max_age: float = MAX_AGE  # seconds; older is stale
    beams: int = 0  # of a LaserScan: into how many equal sectors it is divided, each with its nearest distance
    parts: bool = False  # of a JointState: several nodes publish it, each some of the joints
    hold: bool = False  # the last message counts, however old it is: a goal, a velocity that was commanded

    def __post_init__(self) -> None:
        require_topic(self.topic)
        known = FIELDS[self.type]
        require(self.field in known, f"field {self.field!r} is not one of {', '.join(known)} of {self.type}")
        require(0 < self.max_age < math.inf, f"max_age must be positive seconds, found {self.max_age}")
        if self.type in _NAMED:
            what = "the joints to read from a JointState" if self.type == JOINT_STATE else "all numbers of the array"
            require(bool(self.names), f"names must list {what}")
            require(len(set(self.names)) == len(self.names), f"names has a duplicate: {', '.join(self.names)}")
        else:
            require(not self.names, f"names is for JointState and Float64MultiArray only, not for {self.type}")
        if self.type == LASER_SCAN:
            require(1 <= self.beams <= 4096, f"beams of a LaserScan must be 1 to 4096, found {self.beams}")
        else:
            require(not self.beams, f"beams is for LaserScan only, not for {self.type}")
        require(not self.parts or self.type == JOINT_STATE, f"parts is for JointState only, not for {self.type}")
        require(not (self.parts and self.hold), "give parts or hold, not both")
        require(not self.hold or self.max_age == MAX_AGE, "max_age has no effect beside hold")

    @property
    def elements(self) -> tuple[str, ...]:
        """What each number of the field is called; empty for pictures."""
        return self.names or FIELDS[self.type][self.field] or tuple(f"beam_{i}" for i in range(self.beams))
