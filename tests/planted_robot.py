"""An arm on a tilting base with an IMU and a camera, whose drivers break the contract in twenty ways, one at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import RobotSpec, parse_spec
from tests.robot_sensors import stamped

SPEC_TEXT = """
name: planted
rate: 20.0
observations:
  - {name: arm, shape: [3], unit: rad, range: [-7.0, 7.0],
     source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: position, names: [a, b, c]}}
  - {name: speed, shape: [3], unit: rad/s, range: [-20.0, 20.0],
     source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: velocity, names: [a, b, c]}}
  - {name: tilt, shape: [4], range: [-1.0, 1.0],
     source: {topic: imu, type: sensor_msgs/msg/Imu, field: orientation}}
  - {name: gyro, shape: [3], unit: rad/s, range: [-20.0, 20.0],
     source: {topic: imu, type: sensor_msgs/msg/Imu, field: angular_velocity}}
  - {name: force, shape: [3], unit: m/s^2, range: [-40.0, 40.0],
     source: {topic: imu, type: sensor_msgs/msg/Imu, field: linear_acceleration}}
  - {name: eye, shape: [48, 48, 3], dtype: uint8,
     source: {topic: camera, type: sensor_msgs/msg/Image, field: data}}
actions:
  - {name: goal, unit: rad, low: [-1.6, -1.6, -1.6], high: [1.6, 1.6, 1.6], max_rate: [9, 9, 9],
     command: {topic: arm/commands, names: [a, b, c]}}
reward: {expression: "-norm(speed)"}
episode: {max_steps: 100, reset_service: reset}
safety:
  limits: [{observation: speed, low: [-9, -9, -9], high: [9, 9, 9]}]
  pose: {goal: arm}
  reactions: {e_stop: hold}
"""
SECONDS, RATE = 4.0, 50.0  # of a recording; Hz of all sensors

NAMED = {  # what a finding must say of each; in the order of the list that they come from
    "order": "wrong order",
    "sign": "sign",
    "unit": "degrees",
    "scale": "scale",
    "rate": "expected 20 Hz at least",
    "stale": "stale",
    "frozen": "frozen",
    "clock": "ahead of our clock",
    "frame": "different frames",
    "two publishers": "two ",
    "wrong type": "wrong type",
    "nobody listening": "nobody subscribes",
    "wrong controller": "takes effort",
    "limits": "action goal says",
    "delay": "a delay",
    "dropped messages": "messages are missing",
    "wrong picture size": "expected a picture of 48x48, found 64x48",
    "wrong encoding": "expected encoding",
    "quaternion order": "quaternion in the order w, x, y, z",
    "missing reset": "nobody offers the service",
}
OF_THE_GRAPH = ("nobody listening", "wrong controller", "missing reset")
"""What no bag shows."""


def planted_spec() -> RobotSpec:
    return parse_spec(SPEC_TEXT)


class Said(NamedTuple):
    """A message; `late`: seconds from its stamp to its receipt."""

    topic: str
    kind: str
    message: Any
    late: float


class Drivers:
    """What the drivers say. Args: new: makes empty messages of a type; plant: what is wrong, one of NAMED or none."""

    def __init__(self, new: Callable[[str], Any], plant: str = "") -> None:
        self._new, self._plant = new, plant
        self._random = np.random.default_rng(0)
        self._frozen: Any = None
        self._count = 0

    def at(self, seconds: float, stamp: int) -> Iterator[Said]:
        """All messages of a moment; seconds: since the beginning, stamp: ns."""
        plant = self._plant
        self._count += 1
        if plant == "rate" and self._count % 10:
            return
        late = {"stale": 1.2, "delay": 0.15}.get(plant, 0.002)
        if plant == "clock":
            late = -30.0
        stamp -= round(late * 1e9)
        if plant != "dropped messages" or self._random.random() > 0.15:
            yield Said("joint_states", "sensor_msgs/msg/JointState", stamped(self._joints(seconds), stamp), late)
        if plant == "two publishers":
            other = self._joints(seconds + 1.7)
            yield Said("joint_states", "sensor_msgs/msg/JointState", stamped(other, stamp + 3_000_000), late)
        if plant == "wrong type":
            kind = "geometry_msgs/msg/PoseStamped"
            yield Said("imu", kind, stamped(self._new(kind), stamp), late)
        else:
            yield Said("imu", "sensor_msgs/msg/Imu", stamped(self._imu(seconds), stamp), late)
        yield Said("camera", "sensor_msgs/msg/Image", stamped(self._picture(), stamp), late)

    def _joints(self, t: float) -> Any:
        amplitude, frequency = np.array([0.8, 1.0, 1.2]), np.array([3.0, 4.1, 5.3])
        position = amplitude * np.sin(frequency * t)
        velocity = amplitude * frequency * np.cos(frequency * t)
        position = {
            "order": position[[1, 0, 2]],
            "sign": position * [1, -1, 1],
            "unit": np.degrees(position),
            "scale": position * [1, 1, 0.5],
            "limits": position * [1, 1, 3],
        }.get(self._plant, position)
        velocity = velocity * [1, 1, 3] if self._plant == "limits" else velocity
        message = self._new("sensor_msgs/msg/JointState")
        message.name = ["c", "a", "b"]
        message.position, message.velocity = position[[2, 0, 1]], velocity[[2, 0, 1]]
        return message

    def _imu(self, t: float) -> Any:
        """Pitched by 0.3 rad, rolling slowly."""
        roll, rate = 0.1 * math.sin(1.5 * t), 0.15 * math.cos(1.5 * t)
        x, y = math.sin(roll / 2), math.sin(0.15)
        c, s = math.cos(roll / 2), math.cos(0.15)
        quaternion = np.array([s * x, y * c, -y * x, s * c])  # pitch, then roll
        noise = self._random.normal(0, 1e-3, (2, 3))
        gyro = np.array([rate, 0, 0]) + noise[0]
        acceleration = 9.81 * up(quaternion) + noise[1]
        if self._plant == "quaternion order":
            quaternion = quaternion[[3, 0, 1, 2]]
        if self._plant == "frame":
            acceleration = acceleration[[2, 1, 0]] * [1, 1, -1]
        message = self._new("sensor_msgs/msg/Imu")
        for part, numbers in (
            (message.orientation, quaternion),
            (message.angular_velocity, gyro),
            (message.linear_acceleration, acceleration),
        ):
            for axis, number in zip("xyzw", numbers, strict=False):
                setattr(part, axis, float(number))
        if self._plant == "frozen":
            self._frozen = self._frozen or message
            message.orientation, message.angular_velocity = self._frozen.orientation, self._frozen.angular_velocity
            message.linear_acceleration = self._frozen.linear_acceleration
        return message

    def _picture(self) -> Any:
        width = 64 if self._plant == "wrong picture size" else 48
        message = self._new("sensor_msgs/msg/Image")
        message.height, message.width, message.step = 48, width, 3 * width
        message.encoding = "yuv422_yuy2" if self._plant == "wrong encoding" else "rgb8"
        message.data = self._random.integers(0, 256, 48 * 3 * width, np.uint8)
        return message


def up(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where "up" is in a frame of this orientation, x, y, z, w."""
    x, y, z, w = quaternion
    return np.array([2 * (x * z - w * y), 2 * (w * x + y * z), 1 - 2 * (x * x + y * y)])
