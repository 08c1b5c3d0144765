"""A robot with each type of sensor that a RobotSpec can name, and what its drivers say; with or without ROS 2."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_dreamer.spec import RobotSpec, parse_spec

NEW_MESSAGE = Callable[[str], Any]
SIDE = 48

_SOURCES = {
    "gripper": "JointState, field: position, names: [left, right], parts: true",
    "arm": "JointState, field: position, names: [shoulder], parts: true",
    "camera": "CompressedImage, field: data",
    "depth_mm": "Image, field: data",
    "depth_m": "Image, field: data",
    "scan": "LaserScan, field: ranges, beams: 3",
    "sonar": "Range, field: range",
    "voltage": "BatteryState, field: voltage",
    "speed": "TwistStamped, field: angular",
    "goal": "PoseStamped, field: position, hold: true",
    "wanted": "Twist, field: linear, hold: true",
    "wrist": "WrenchStamped, field: force",
    "down": "PoseStamped, field: orientation",
}
_TOPICS = {"gripper": "joints", "arm": "joints", "down": "pose"}
_MORE = {
    "gripper": "shape: [2]",
    "arm": "shape: [1]",
    "camera": f"shape: [{SIDE}, {SIDE}, 3], dtype: uint8",
    "depth_mm": f"shape: [{SIDE}, {SIDE}, 1], dtype: uint8, unit: m, range: [0.5, 2.5]",
    "depth_m": f"shape: [{SIDE}, {SIDE}, 1], dtype: uint8, range: [0.5, 2.5]",
    "scan": "shape: [3], range: [0.1, 8.0]",
    "sonar": "shape: [1], range: [0.1, 3.0]",
    "voltage": "shape: [1], unit: V",
    "down": "shape: [3], encoding: projected_gravity",
}


def sensor_spec(*names: str) -> RobotSpec:
    """A robot with these observations (default: all), whose reward counts steps."""
    return parse_spec(sensor_text(*names))


def sensor_text(*names: str) -> str:
    """The same as YAML."""
    lines = []
    for name in names or _SOURCES:
        kind, _, rest = _SOURCES[name].partition(",")
        room = (
            "sensor_msgs" if kind not in ("TwistStamped", "PoseStamped", "Twist", "WrenchStamped") else "geometry_msgs"
        )
        source = f"{{topic: {_TOPICS.get(name, name)}, type: {room}/msg/{kind},{rest}}}"
        lines.append(f"  - {{name: {name}, {_MORE.get(name, 'shape: [3]')}, source: {source}}}")
    return (
        "name: rich\nrate: 20.0\nobservations:\n"
        + "\n".join(lines)
        + "\nactions: [{name: turn, low: [-1.0], high: [1.0], command: {topic: motor}}]\n"
        + "reward: {expression: '1.0'}\nepisode: {max_steps: 20}\n"
    )


def stamped(message: Any, stamp: int) -> Any:
    """With a header's stamp, ns."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    return message


def rich_messages(new: NEW_MESSAGE, stamp: int) -> list[tuple[str, str, Any]]:
    """(topic, type, message) of all drivers at a moment."""
    said: list[tuple[str, str, Any]] = []

    def say(topic: str, kind: str, stamps: bool = True) -> Any:
        message = new(kind)
        said.append((topic, kind, stamped(message, stamp) if stamps else message))
        return message

    for names, positions in ((["right", "left"], [2.0, 1.0]), (["elbow", "shoulder"], [9.0, 3.0])):
        joints = say("joints", "sensor_msgs/msg/JointState")
        joints.name, joints.position = names, np.array(positions)
    camera = say("camera", "sensor_msgs/msg/CompressedImage")
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "PNG")
    camera.format, camera.data = "rgb8; png compressed bgr8", np.frombuffer(file.getvalue(), np.uint8)
    metres = depth()
    fill_image(say("depth_mm", "sensor_msgs/msg/Image"), "16UC1", np.nan_to_num(metres * 1000).astype("<u2"))
    fill_image(say("depth_m", "sensor_msgs/msg/Image"), "32FC1", metres.astype("<f4"))
    scan = say("scan", "sensor_msgs/msg/LaserScan")
    scan.range_min, scan.range_max = 0.1, 10.0
    scan.ranges = np.array([2.0, 0.0, 1.5, np.inf, np.nan, 0.0, 9.0, -np.inf, 3.0], np.float32)
    sonar = say("sonar", "sensor_msgs/msg/Range")
    sonar.min_range, sonar.max_range, sonar.range = 0.2, 3.0, float("inf")
    battery = say("voltage", "sensor_msgs/msg/BatteryState")
    battery.voltage, battery.current = 12.5, float("nan")
    say("speed", "geometry_msgs/msg/TwistStamped").twist.angular.z = 0.5
    say("goal", "geometry_msgs/msg/PoseStamped").pose.position.y = -4.0
    say("wanted", "geometry_msgs/msg/Twist", stamps=False).linear.x = 0.25
    say("wrist", "geometry_msgs/msg/WrenchStamped").wrench.force.z = -9.5
    pose = say("pose", "geometry_msgs/msg/PoseStamped").pose
    pose.orientation.x, pose.orientation.w = 0.5**0.5, 0.5**0.5  # rolled to the right by a quarter turn
    return said


RICH: dict[str, Any] = {
    "gripper": [1.0, 2.0],
    "arm": [3.0],
    "scan": [1.5, 8.0, 0.1],
    "sonar": [3.0],
    "voltage": [12.5],
    "speed": [0.0, 0.0, 0.5],
    "goal": [0.0, -4.0, 0.0],
    "wanted": [0.25, 0.0, 0.0],
    "wrist": [0.0, 0.0, -9.5],
    "down": [0.0, -1.0, 0.0],
}
"""What the vectors of `rich_messages` are as observations."""


def picture() -> NDArray[np.uint8]:
    """What the camera shows."""
    return np.arange(SIDE * SIDE * 3, dtype=np.uint8).reshape(SIDE, SIDE, 3)


def depth() -> NDArray[np.float64]:
    """What the depth cameras show, m: rows of near, unmeasured and far things, else the middle of the range."""
    metres = np.full((SIDE, SIDE), 1.5)
    metres[0], metres[1], metres[2] = 0.25, np.nan, 6.0
    return metres


def fill_image(message: Any, encoding: str, pixels: NDArray[Any]) -> None:
    """A raw picture [height, width]."""
    message.height, message.width = pixels.shape
    message.encoding, message.step = encoding, pixels.shape[1] * pixels.itemsize
    message.data = np.frombuffer(pixels.tobytes(), np.uint8)
