"""The `simulation` section of a RobotSpec: what it may say. docs/simulation.md explains it."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from robot_dreamer.spec.check import require


class ImuModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an IMU's readings come from: MuJoCo sensors, and the body whose orientation it shows."""

    angular_velocity: str = ""  # gyro sensor
    linear_acceleration: str = ""  # accelerometer sensor
    orientation: str = ""  # body


class Drive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of drive on some joints of a model that has no actuators there: each gets one of its joint's name.

    Force means N m on a hinge, N on a slide. A position drive gives kp * (command - position) - kv * velocity, a
    velocity drive kv * (command - velocity), a torque drive its command.
    """

    joints: tuple[str, ...]
    kind: Literal["position", "velocity", "torque"]
    kp: float = 0.0  # force per rad, or per m
    kv: float = 0.0  # force per rad/s, or per m/s
    force: float = 0.0  # most that it gives, either way; 0: no limit of its own

    def __post_init__(self) -> None:
        require(bool(self.joints), "joints must name at least one joint")
        needed = {"position": ("kp",), "velocity": ("kv",), "torque": ()}[self.kind]
        allowed = {"position": ("kp", "kv"), "velocity": ("kv",), "torque": ()}[self.kind]
        for gain in ("kp", "kv", "force"):
            value = getattr(self, gain)
            require(0 <= value < math.inf, f"{gain} must be a number of at least 0, found {value}")
            require(bool(value) or gain not in needed, f"a {self.kind} drive needs {gain}")
            require(not value or gain in (*allowed, "force"), f"a {self.kind} drive has no {gain}, found {value:g}")


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole section."""

    model: str  # see sim.worlds
    keyframe: str = ""  # mjcf: name of the model's keyframe that episodes begin with; default: its first, if any
    start: dict[str, float] = {}  # mjcf, urdf: joint -> its position then, rad or m; the others as the keyframe says
    drives: tuple[Drive, ...] = ()  # mjcf, urdf: actuators that are added to the model
    cameras: dict[str, str | int] = {}  # image topic -> MuJoCo camera (name or index); default: camera 0
    imus: dict[str, ImuModel] = {}  # IMU topic -> its sensors
    odometry: dict[str, str] = {}  # Odometry topic -> body
    arrays: dict[str, tuple[str, ...]] = {}  # Float64MultiArray topic -> MuJoCo sensors, whose numbers are joined
    actuators: dict[str, tuple[str, ...]] = {}  # action -> joints or actuators that it drives; default: its names
