"""RobotSpec, the one contract about a robot, and what it is made of."""

from robot_dreamer.spec.action import ActionSpec, Command, LowPassSpec
from robot_dreamer.spec.expression import ExpressionFault
from robot_dreamer.spec.observation import ObservationSpec, Picture
from robot_dreamer.spec.robot import (
    ROBOTS_DIRECTORY,
    Episode,
    RobotSpec,
    SpecError,
    SpecMismatch,
    known_robots,
    load_spec,
    parse_spec,
    require_lockstep,
    require_own_topics,
    require_same_spec,
)
from robot_dreamer.spec.signal import Signal
from robot_dreamer.spec.source import Source

__all__ = [
    "ROBOTS_DIRECTORY",
    "ActionSpec",
    "Command",
    "Episode",
    "ExpressionFault",
    "LowPassSpec",
    "ObservationSpec",
    "Picture",
    "RobotSpec",
    "Signal",
    "Source",
    "SpecError",
    "SpecMismatch",
    "known_robots",
    "load_spec",
    "parse_spec",
    "require_lockstep",
    "require_own_topics",
    "require_same_spec",
]
