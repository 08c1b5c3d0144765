"""The part of a RobotSpec that says what a robot does: actions, their limits and filter, and the messages they become.

policy       normalised action
ActionSpec   command in units             filter, limits and rates work on these
Command      numbers of the message       scale * command + offset
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec.check import require, require_name, require_topic

ARRAY = "std_msgs/msg/Float64MultiArray"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
TWIST = "geometry_msgs/msg/Twist"
TWIST_STAMPED = "geometry_msgs/msg/TwistStamped"
FLOAT = "std_msgs/msg/Float64"

TWIST_FIELDS = tuple(f"{part}.{axis}" for part in ("linear", "angular") for axis in "xyz")
_NEED_NAMES = {
    TRAJECTORY: "the joints",
    FLOAT: "what {name} in the topic stands for",
    TWIST: f"some of {', '.join(TWIST_FIELDS)}",
    TWIST_STAMPED: f"some of {', '.join(TWIST_FIELDS)}",
}


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an action goes: the topic and the form that a driver or controller takes.

    Float64MultiArray: ros2_control's forward command controllers; all numbers in one array.
    JointTrajectory: ros2_control's joint_trajectory_controller; one point, reached after `time_from_start`.
    Twist, TwistStamped: a mobile base, or the servo of an arm's tip; `names` such as linear.x and angular.z, the rest
    stays 0; a TwistStamped says along which `frame` it goes.
    Float64: one topic per joint; `{name}` in the topic stands for each of `names`.
    """

    topic: str
    type: Literal[
        "std_msgs/msg/Float64MultiArray",
        "trajectory_msgs/msg/JointTrajectory",
        "geometry_msgs/msg/Twist",
        "geometry_msgs/msg/TwistStamped",
        "std_msgs/msg/Float64",
    ] = "std_msgs/msg/Float64MultiArray"
    names: tuple[str, ...] = ()  # joints (or a Twist's fields) in the order of the action's numbers
    field: Literal["positions", "velocities", "effort"] = "positions"  # of a JointTrajectory's point
    time_from_start: float = 0.0  # seconds, JointTrajectory only; 0: one control period
    scale: tuple[float, ...] = ()  # per number: message = scale * command + offset; default 1
    offset: tuple[float, ...] = ()  # default 0
    frame: str = ""  # TwistStamped only: frame_id of its header, which MoveIt Servo needs and a base does not

    def __post_init__(self) -> None:
        require(len(set(self.names)) == len(self.names), f"names has a duplicate: {', '.join(self.names)}")
        needed = _NEED_NAMES.get(self.type)
        require(needed is None or bool(self.names), f"names must list {needed} for {self.type}")
        if self.type in (TWIST, TWIST_STAMPED):
            unknown = [n for n in self.names if n not in TWIST_FIELDS]
            require(not unknown, f"names of a Twist are {', '.join(TWIST_FIELDS)}; found {', '.join(unknown)}")
        has_place = "{name}" in self.topic
        require(has_place or self.type != FLOAT, f"topic of {FLOAT} must contain {{name}}, one topic per joint")
        require(not has_place or self.type == FLOAT, f"{{name}} in a topic is for {FLOAT} only, not for {self.type}")
        is_trajectory = self.type == TRAJECTORY
        require(is_trajectory or self.field == "positions", f"field is for {TRAJECTORY} only, not for {self.type}")
        require(is_trajectory or not self.time_from_start, f"time_from_start is for {TRAJECTORY} only")
        require(0 <= self.time_from_start < math.inf, "time_from_start must be seconds, not negative")
        stamped = self.type == TWIST_STAMPED
        require(stamped or not self.frame, f"frame is for {TWIST_STAMPED} only, not for {self.type}")
        require(not self.frame.startswith("/"), f"frame {self.frame!r}: names of frames do not begin with /")
        for topic in self.topics:
            require_topic(topic)
        for label, values in (("scale", self.scale), ("offset", self.offset)):
            require(all(math.isfinite(x) for x in values), f"{label} must be finite")
        require(all(self.scale), "scale must not be 0")

    @property
    def topics(self) -> tuple[str, ...]:
        """All topics, of Float64 in the order of `names`."""
        return tuple(self.topic.replace("{name}", n) for n in self.names) if self.type == FLOAT else (self.topic,)

    @property
    def has_stamp(self) -> bool:
        """A message can say which sensors it answers, as lockstep needs it."""
        return self.type in (ARRAY, TRAJECTORY, TWIST_STAMPED)

    def to_message(self, command: NDArray[np.float64]) -> NDArray[np.float64]:
        """Command in units -> the numbers of the message, shape (size,)."""
        if self.scale:
            command = command * np.asarray(self.scale)
        return command + np.asarray(self.offset) if self.offset else command

    def from_message(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `to_message`."""
        if self.offset:
            numbers = numbers - np.asarray(self.offset)
        return numbers / np.asarray(self.scale) if self.scale else numbers


class LowPassSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Butterworth low-pass on commands, at the control rate."""

    cutoff: float  # Hz, at which the gain is 1/sqrt(2)
    order: int = 2

    def __post_init__(self) -> None:
        require(0 < self.cutoff < math.inf, f"cutoff must be positive Hz, found {self.cutoff}")
        require(1 <= self.order <= 8, f"order must be 1 to 8, found {self.order}")


class ActionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One action. Policy, replay and wire hold it normalised; only the command is in physical units.

    Continuous: `low` and `high` in `unit`; the normalised action is in [-1, 1], which maps linearly onto them.
    Discrete: `values`, a row of command numbers per class; the normalised action is the class index.
    """

    name: str
    command: Command
    unit: str = ""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    neutral: tuple[float, ...] = ()  # the safe command, in units; default: zero clipped into the limits
    max_rate: tuple[float, ...] = ()  # largest change of the command, units per second; default: unlimited
    filter: LowPassSpec | None = None  # before limits and rates; continuous only
    values: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        require_name(self.name)
        if self.values:
            require(
                not self.low and not self.high, "give either low and high (continuous) or values (discrete), not both"
            )
            require(len(self.values) >= 2, "values needs at least two rows (classes)")
            require(len({len(row) for row in self.values}) == 1, "rows of values must have equal length")
            require(all(math.isfinite(x) for row in self.values for x in row), "values must be finite")
            require(not self.max_rate, "max_rate is for continuous actions only")
            require(self.filter is None, "filter is for continuous actions only")
        else:
            require(len(self.low) > 0, "give low and high (continuous) or values (discrete)")
            require(len(self.low) == len(self.high), f"low has {len(self.low)} numbers, high has {len(self.high)}")
            require(all(a < b for a, b in zip(self.low, self.high, strict=True)), "each low must be below its high")
        for field in ("low", "high", "neutral", "max_rate"):
            require(all(math.isfinite(x) for x in getattr(self, field)), f"{field} must be finite")
        for field in ("neutral", "max_rate"):
            found = len(getattr(self, field))
            require(found in (0, self.size), f"{field} needs {self.size} numbers, found {found}")
        require(all(x > 0 for x in self.max_rate), "max_rate must be positive")
        require(len(self.command.names) in (0, self.size), f"command.names needs {self.size} entries")
        for field in ("scale", "offset"):
            found = len(getattr(self.command, field))
            require(found in (0, self.size), f"command.{field} needs {self.size} numbers, found {found}")
        if self.neutral and not self.values:
            inside = all(a <= x <= b for a, x, b in zip(self.low, self.neutral, self.high, strict=True))
            require(inside, f"neutral {list(self.neutral)} must lie within low and high")

    @property
    def discrete(self) -> bool:
        return bool(self.values)

    @property
    def size(self) -> int:
        """Numbers in one command."""
        return len(self.values[0]) if self.values else len(self.low)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the normalised action: () for a class index, (size,) otherwise."""
        return () if self.discrete else (self.size,)

    @property
    def dtype(self) -> type[np.generic]:
        return np.int64 if self.discrete else np.float32

    def zero(self) -> NDArray[Any]:
        """The action of a row after which nothing was executed (an episode's last row)."""
        return np.zeros(self.shape, self.dtype)

    def to_command(self, action: NDArray[Any]) -> NDArray[np.float64]:
        """Normalised action -> command in units, shape (size,). Continuous actions are clipped to [-1, 1]."""
        if self.discrete:
            return np.asarray(self.values[int(action)], np.float64)
        low, high = np.asarray(self.low), np.asarray(self.high)
        share = (np.clip(np.asarray(action, np.float64), -1.0, 1.0) + 1.0) * 0.5
        return np.asarray(low + share * (high - low))

    def from_command(self, command: NDArray[np.float64]) -> NDArray[Any]:
        """Command in units -> normalised action; of a discrete one the nearest class."""
        if self.discrete:
            distance = np.square(np.asarray(self.values) - command).sum(-1)
            return np.asarray(distance.argmin(), np.int64)
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.asarray((command - low) / (high - low) * 2.0 - 1.0, np.float32)

    def neutral_command(self) -> NDArray[np.float64]:
        """The safe command, shape (size,), in units."""
        if self.neutral:
            return np.asarray(self.neutral, np.float64)
        if self.discrete:
            return np.asarray(self.values[0], np.float64)
        return np.clip(np.zeros(self.size), self.low, self.high)
