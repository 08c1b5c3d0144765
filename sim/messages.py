"""Sensors into ROS 2 messages. The messages are reused from tick to tick; only their stamps and numbers change."""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TwistStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import Image, Imu, JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

from robot_dreamer.spec.source import IMAGE, IMU, JOINT_STATE, NUMBERS, ODOMETRY, POSE, TWIST_STAMPED
from sim.body_sensors import OdometryReading, PoseReading
from sim.sensors import ImuReading, JointReading
from sim.velocity_commands import TwistReading


def stamp_to_time(stamp: int) -> Time:
    """Nanoseconds -> builtin_interfaces/Time."""
    return Time(sec=stamp // 1_000_000_000, nanosec=stamp % 1_000_000_000)


def fill_joint_state(message: JointState, time: Time, reading: JointReading) -> None:
    message.header.stamp = time
    message.name = reading.names
    message.position = _doubles(reading.position)
    message.velocity = _doubles(reading.velocity)
    message.effort = _doubles(reading.effort)


def fill_imu(message: Imu, time: Time, reading: ImuReading) -> None:
    """A reading that the IMU does not have is marked by -1 in its covariance (REP 145)."""
    message.header.stamp = time
    for field in ("orientation", "angular_velocity", "linear_acceleration"):
        values = getattr(reading, field)
        if values is None:
            getattr(message, f"{field}_covariance")[0] = -1.0
            continue
        _set(getattr(message, field), values)


def fill_image(message: Image, time: Time, picture: NDArray[Any]) -> None:
    """Depth is in m (REP 118)."""
    message.header.stamp = time
    message.height, message.width, channels = picture.shape
    message.encoding = "32FC1" if picture.dtype == np.float32 else "rgb8" if channels == 3 else "mono8"
    message.step = message.width * channels * picture.itemsize
    message.data = array.array("B", picture.tobytes())  # anything but array.array is copied element by element


def fill_odometry(message: Odometry, time: Time, reading: OdometryReading) -> None:
    message.header.stamp = time
    pose, twist = message.pose.pose, message.twist.twist
    for vector, values in (
        (pose.position, reading.position),
        (pose.orientation, reading.orientation),
        (twist.linear, reading.linear_velocity),
        (twist.angular, reading.angular_velocity),
    ):
        _set(vector, values)


def fill_pose(message: PoseStamped, time: Time, reading: PoseReading) -> None:
    message.header.stamp = time
    _set(message.pose.position, reading.position)
    _set(message.pose.orientation, reading.orientation)


def fill_twist(message: TwistStamped, time: Time, reading: TwistReading) -> None:
    message.header.stamp = time
    _set(message.twist.linear, reading.linear)
    _set(message.twist.angular, reading.angular)


def fill_array(message: Float64MultiArray, time: Time, reading: NDArray[np.float64]) -> None:
    """It has no header: the first dimension's label is the stamp, ns."""
    stamp = str(time.sec * 1_000_000_000 + time.nanosec)
    message.layout.dim = [MultiArrayDimension(label=stamp, size=len(reading), stride=len(reading))]
    message.data = _doubles(reading)


def _set(vector: Any, values: NDArray[np.float64]) -> None:
    """Its x, y, z and, where there are four numbers, w."""
    for axis, value in zip("xyzw", values.tolist(), strict=False):
        setattr(vector, axis, value)


def _doubles(values: NDArray[Any]) -> array.array[float]:
    return array.array("d", values.tobytes())


FILL: Mapping[str, Callable[[Any, Time, Any], None]] = {
    JOINT_STATE: fill_joint_state,
    IMU: fill_imu,
    IMAGE: fill_image,
    ODOMETRY: fill_odometry,
    POSE: fill_pose,
    NUMBERS: fill_array,
    TWIST_STAMPED: fill_twist,
}
