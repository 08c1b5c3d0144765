"""The `simulation` section of a RobotSpec: what it may say. docs/simulation.md explains it."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from robot_dreamer.spec.check import require

EPISODE = "episode"
MOST_DELAY = 5.0  # s


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
    max_error: float = 0.0  # rad or m, position only: the command is kept so near the measured position; 0: it is not

    def __post_init__(self) -> None:
        require(bool(self.joints), "joints must name at least one joint")
        needed = {"position": ("kp",), "velocity": ("kv",), "torque": ()}[self.kind]
        allowed = {"position": ("kp", "kv", "max_error"), "velocity": ("kv",), "torque": ()}[self.kind]
        for gain in ("kp", "kv", "force", "max_error"):
            value = getattr(self, gain)
            require(0 <= value < math.inf, f"{gain} must be a number of at least 0, found {value}")
            require(bool(value) or gain not in needed, f"a {self.kind} drive needs {gain}")
            require(not value or gain in (*allowed, "force"), f"a {self.kind} drive has no {gain}, found {value:g}")


class Motor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the motors of some joints can give: a straight line from standstill to the speed without load."""

    joints: tuple[str, ...]
    max_torque: float  # at standstill, N m on a hinge, N on a slide
    no_load_speed: float  # at which nothing is left, rad/s or m/s

    def __post_init__(self) -> None:
        require(bool(self.joints), "joints must name at least one joint")
        for name in ("max_torque", "no_load_speed"):
            value = getattr(self, name)
            require(0 < value < math.inf, f"{name} must be a positive number, found {value}")


Draw = float | tuple[float, float]  # a number, or the range from which it is drawn evenly, episode by episode


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a body begins an episode that is free, or moved by the simulation alone (mocap), in the world's frame."""

    x: Draw | None = None  # m; None: as the keyframe says
    y: Draw | None = None
    z: Draw | None = None
    turn: Draw = 0.0  # rad, about the vertical, on top of the keyframe's orientation
    tumbled: bool = False  # any orientation, all of them alike, instead of the keyframe's

    def __post_init__(self) -> None:
        for field in ("x", "y", "z", "turn"):
            draw = getattr(self, field)
            if draw is not None:
                require_draw(field, draw)


def require_draw(label: str, draw: Draw) -> None:
    """Raise ValueError unless it is a finite number, or a range of two with the lower one first."""
    low, high = draw if isinstance(draw, tuple) else (draw, draw)
    good = math.isfinite(low) and math.isfinite(high) and low <= high
    require(good, f"{label} must be a finite number or two, the lower one first, found {draw}")


class Box(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of space, m."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def __post_init__(self) -> None:
        good = all(-math.inf < a < b < math.inf for a, b in zip(self.low, self.high, strict=True))
        require(good, f"each low must be below its high, found {list(self.low)} and {list(self.high)}")


class Cartesian(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An action that moves a body in space: its commands are velocities, a servo makes joint targets of them."""

    body: str  # the tip, whose velocity is commanded
    joints: tuple[str, ...]  # that move it, with position drives
    workspace: tuple[Box, ...]  # a move that would end in none of these is refused; the world's frame
    slack: float = 0.02  # m between the tip and its target, beyond which something is in its way

    def __post_init__(self) -> None:
        require(bool(self.joints), "joints must name at least one joint")
        require(bool(self.workspace), "workspace must have at least one box")
        require(0 < self.slack < math.inf, f"slack must be positive m, found {self.slack}")


class Vary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A quantity that differs from episode to episode: one row of the table `simulation.vary`."""

    quantity: str  # see sim.quantities; or noise, bias (of sensors), push
    range: tuple[float, float]  # of what is drawn, evenly
    of: str = "*"  # pattern of names (*, ?, [abc]) of what has it
    how: Literal["", "scale", "add", "set"] = ""  # what is done with what is drawn; default: the quantity's first
    when: str | float | tuple[float, float] = EPISODE  # episode; or seconds between two draws, themselves drawn evenly

    def __post_init__(self) -> None:
        low, high = self.range
        good = math.isfinite(low) and math.isfinite(high) and low <= high
        require(good, f"range must be two finite numbers, the lower one first, found {[low, high]}")
        if isinstance(self.when, str):
            require(self.when == EPISODE, f"when must be {EPISODE} or seconds, found {self.when!r}")
        else:
            least, most = self.interval
            require(0 < least <= most < math.inf, f"when must be positive seconds, found {self.when}")

    @property
    def once(self) -> bool:
        """It is drawn when an episode begins, and not amid it."""
        return self.when == EPISODE

    @property
    def interval(self) -> tuple[float, float]:
        """Least and most seconds between two draws; infinite: one draw an episode."""
        if isinstance(self.when, str):
            return math.inf, math.inf
        return (self.when, self.when) if isinstance(self.when, float | int) else self.when


class Lag(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How late something comes, and how much of it never does."""

    seconds: tuple[float, float] = (0.0, 0.0)  # drawn evenly, once an episode
    jitter: float = 0.0  # most seconds that one sample or command may be later than that, drawn evenly
    loss: float = 0.0  # probability that a sample or command never arrives, so that the one before it stays

    def __post_init__(self) -> None:
        low, high = self.seconds
        require(
            0 <= low <= high <= MOST_DELAY, f"seconds must be two numbers from 0 to {MOST_DELAY:g}, found {[low, high]}"
        )
        require(0 <= self.jitter <= MOST_DELAY, f"jitter must be from 0 to {MOST_DELAY:g} s, found {self.jitter}")
        require(0 <= self.loss < 1, f"loss must be from 0 to below 1, found {self.loss}")


class Delay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Time that passes between robot and policy, either way."""

    sensors: Lag = Lag()
    commands: Lag = Lag()


class VelocityCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A velocity that somebody asks of the robot, in the robot's frame."""

    every: Draw  # seconds until the next one is drawn
    x: Draw = 0.0  # m/s, forward
    y: Draw = 0.0  # m/s, to the left
    turn: Draw = 0.0  # rad/s, to the left

    def __post_init__(self) -> None:
        for name in ("every", "x", "y", "turn"):
            require_draw(name, getattr(self, name))
        least = self.every[0] if isinstance(self.every, tuple) else self.every
        require(least > 0, f"every must be positive seconds, found {self.every}")


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole section."""

    model: str  # see sim.worlds
    keyframe: str = ""  # mjcf: name of the model's keyframe that episodes begin with; default: its first, if any
    start: dict[str, Draw | Place] = {}  # mjcf, urdf: joint -> rad or m then, free body -> place; else as the keyframe
    drives: tuple[Drive, ...] = ()  # mjcf, urdf: actuators that are added to the model
    cameras: dict[str, str | int] = {}  # image topic -> MuJoCo camera (name or index); default: camera 0
    imus: dict[str, ImuModel] = {}  # IMU topic -> its sensors
    odometry: dict[str, str] = {}  # Odometry topic -> body
    poses: dict[str, str] = {}  # PoseStamped topic -> body
    velocity_commands: dict[str, VelocityCommand] = {}  # TwistStamped topic -> what is asked of the robot there
    arrays: dict[str, tuple[str, ...]] = {}  # Float64MultiArray topic -> MuJoCo sensors, whose numbers are joined
    task_observations: dict[str, str] = {}  # dm_control: Float64MultiArray topic -> what the task observes
    motors: tuple[Motor, ...] = ()  # what actuators can give at which speed
    vary: tuple[Vary, ...] = ()  # what differs from episode to episode
    delay: Delay = Delay()
    cartesian: dict[str, Cartesian] = {}  # action (TwistStamped) -> what it moves
    actuators: dict[str, tuple[str, ...]] = {}  # action -> joints or actuators that it drives; default: its names

    def __post_init__(self) -> None:
        for name, begin in self.start.items():
            if not isinstance(begin, Place):
                require_draw(f"start of {name}", begin)
