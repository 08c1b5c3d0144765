"""The `safety` section of a RobotSpec: what the guard watches on this robot, and how it reacts.

It is no part of the contract (the hash): it changes neither what the policy sees nor what its actions mean, and a
person who tightens a limit must not lose the experience and the bundles made before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from robot_dreamer.spec.action import TWIST, TWIST_STAMPED, ActionSpec
from robot_dreamer.spec.check import require
from robot_dreamer.spec.observation import ObservationSpec
from robot_dreamer.spec.units import disagreement, measure

if TYPE_CHECKING:
    from robot_dreamer.spec.robot import RobotSpec

Reaction = Literal["ramp", "stop", "hold", "damp"]
"""What a latched fault does with the robot:

  ramp  neutral command, within max_rate and ramp_seconds; what `keep` names stays as it is
  stop  the same, within max_rate only; heartbeat false
  hold  the last command stays
  damp  no more commands, heartbeat false: the low level must damp by itself
"""
Rule = Literal[
    "command",
    "policy",
    "tilt",
    "limit",
    "frozen",
    "stale",
    "deadline",
    "surprise",
    "bundle",
    "link",
    "contested",
    "e_stop",
]
RULES: tuple[Rule, ...] = get_args(Rule)
TERMINAL_RULES = frozenset({"tilt", "limit"})
"""Rules about what the robot did to itself: their fault ends the episode as terminal, with the row that shows it. All
others say nothing about the task: their fault cuts the episode."""
_DEFAULTS: Mapping[str, Reaction] = {"e_stop": "stop"}


class Tilt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The robot may lean so far and no further.

    `observation` is an IMU's orientation, or a vector [3] that points along `up` while the robot stands upright: an
    accelerometer's reading, or gravity seen from the body with up: [0, 0, -1].
    """

    observation: str
    max_angle: float  # rad
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)  # in the sensor's frame
    after: float = 0.0  # seconds that it must last

    def __post_init__(self) -> None:
        require(0 < self.max_angle < math.pi, f"max_angle must be in (0, pi) rad, found {self.max_angle}")
        require(all(map(math.isfinite, self.up)) and any(self.up), f"up must be a direction, found {list(self.up)}")
        _require_seconds("after", self.after)


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A measured quantity that must stay within limits: joint position, velocity, effort, temperature."""

    observation: str
    low: tuple[float, ...] = ()  # in the observation's unit; empty: none
    high: tuple[float, ...] = ()
    after: float = 0.0  # seconds that it must last

    def __post_init__(self) -> None:
        require(bool(self.low or self.high), "give low, high or both")
        require(all(map(math.isfinite, (*self.low, *self.high))), "low and high must be finite")
        if self.low and self.high:
            require(len(self.low) == len(self.high), "low and high must have the same length")
            require(all(a < b for a, b in zip(self.low, self.high, strict=True)), "each low must be below its high")
        _require_seconds("after", self.after)


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A quantity that must change while commands do; not to the last bit the same for so long."""

    observation: str
    seconds: float  # counted while commands change

    def __post_init__(self) -> None:
        require(0 < self.seconds < math.inf, f"seconds must be positive, found {self.seconds}")


class Surprise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The world model is surprised far beyond what it was lately. The rule of the threshold is in onboard/rules.py."""

    factor: float = 1.25  # times the 99th percentile of the window
    seconds: float = 1.0  # that the mean goes over
    window: int = 5000  # ticks that are looked back on
    warm_up: int = 1000  # ticks after the start and after each swap before it judges

    def __post_init__(self) -> None:
        require(0 < self.factor < math.inf, f"factor must be positive, found {self.factor}")
        require(0 < self.seconds < math.inf, f"seconds must be positive, found {self.seconds}")
        require(100 <= self.window <= 1_000_000, f"window must be in 100..1000000, found {self.window}")
        require(1 <= self.warm_up <= self.window, f"warm_up must be in 1..{self.window} (window), found {self.warm_up}")


class Safety(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the guard watches beyond commands, which it always does."""

    ramp_seconds: float = 0.0  # the way to neutral from the far end of the limits; 0: as fast as max_rate allows
    reactions: dict[Rule, Reaction] = {}  # default: stop for e_stop, ramp for all others
    keep: tuple[str, ...] = ()  # actions that ramp and stop leave as they are: a gripper that holds something
    pose: dict[str, str] = {}  # action -> observation of where the robot is, in the action's units: Stand begins there
    tilt: Tilt | None = None
    limits: tuple[Limit, ...] = ()
    frozen: Frozen | tuple[Frozen, ...] = ()  # one, or several
    missed_deadlines: int = 50  # in a row; 0: not watched
    stale_seconds: float = 2.0  # without a good sample in an episode (real time); 0: goes on when there is one
    bundle_seconds: float = 0.0  # age at which a bundle is too old to act; 0: never
    surprise: Surprise | None = None
    synchronised_clocks: bool = False  # a sensor whose age its stamps cannot tell is stale

    def __post_init__(self) -> None:
        for field in ("ramp_seconds", "stale_seconds", "bundle_seconds"):
            _require_seconds(field, getattr(self, field))
        require(self.missed_deadlines >= 0, f"missed_deadlines must not be negative, found {self.missed_deadlines}")

    @property
    def frozens(self) -> tuple[Frozen, ...]:
        """All of `frozen`."""
        return (self.frozen,) if isinstance(self.frozen, Frozen) else self.frozen

    def reaction(self, rule: Rule) -> Reaction:
        """How the guard reacts to a fault of `rule`."""
        return self.reactions.get(rule) or _DEFAULTS.get(rule, "ramp")


def goes_on(action: ActionSpec) -> bool:
    """Whether a command that stays in force is a motion or a force, as far as its type or unit says."""
    command = action.command
    moves = command.type in (TWIST, TWIST_STAMPED) or command.field != "positions"
    return moves or measure(action.unit) not in ("", "angle", "length")


def check_safety(spec: RobotSpec) -> None:
    """Raise ValueError unless all names of its safety section exist and fit; the message begins with the field.

    Asked of what people write and of what acts, not of each file that carries a spec: what an older program took is
    opened.
    """
    safety, actions = spec.safety, {a.name: a for a in spec.actions}
    quantities = {o.name: o for o in spec.quantities}

    def vector(where: str, name: str) -> ObservationSpec:
        found = quantities.get(name)
        if found is None:
            known = ", ".join(quantities)
            raise ValueError(f"safety.{where}: no observation or watched quantity is called {name!r}; known: {known}")
        fits = found.encoding == "raw" and found.dtype == "float32" and found.history == 1
        require(fits, f"safety.{where}: {name} must be a vector of raw numbers; declare such a one under watched")
        return found

    def present(where: str, name: str) -> ObservationSpec:
        found = vector(where, name)
        text = f"safety.{where}: {name} must say where the robot is now; it is held, and may be of any age"
        require(not found.source.hold, text)
        return found

    if safety.tilt is not None:
        found = present("tilt", safety.tilt.observation)
        fits = found.shape == (3,) or (found.shape == (4,) and found.source.field == "orientation")
        require(fits, f"safety.tilt: {found.name} must be an orientation (4 numbers) or a direction (3 numbers)")
        even = len(set(found.scale)) <= 1 and not any(found.offset)
        require(even, f"safety.tilt: {found.name} is no direction any more with different scales, or an offset")
    for frozen in safety.frozens:
        known = frozen.observation in quantities
        text = f"safety.frozen: no observation or watched quantity is called {frozen.observation!r}; known: "
        require(known, text + ", ".join(quantities))
    for i, limit in enumerate(safety.limits):
        (size,) = vector(f"limits[{i}]", limit.observation).shape
        for side in (limit.low, limit.high):
            require(
                len(side) in (0, size), f"safety.limits[{i}]: {limit.observation} has {size} numbers, found {len(side)}"
            )
    for name in safety.keep:
        if name not in actions:
            raise ValueError(f"safety.keep: no action is called {name!r}; known: {', '.join(actions)}")
        kind = actions[name].unit or actions[name].command.type
        text = f"safety.keep: {name} commands a motion or a force ({kind}), which would go on"
        require(not goes_on(actions[name]), text)
    for name, observation in safety.pose.items():
        action = actions.get(name)
        if action is None or action.values:
            raise ValueError(f"safety.pose: no continuous action is called {name!r}; known: {', '.join(actions)}")
        (size,) = present(f"pose.{name}", observation).shape
        require(size == action.size, f"safety.pose.{name}: expected {action.size} numbers, {observation} has {size}")
        measured, commanded = quantities[observation].source.names, action.command.names
        same = measured == commanded or sorted(measured) != sorted(commanded)  # the latter: names of two worlds
        text = f"safety.pose.{name}: {observation} names {list(measured)}, the command {list(commanded)}"
        require(same, f"{text}; write the names of a watched quantity in the order of the command")
        problem = disagreement(quantities[observation].unit, action.unit)
        require(not problem, f"safety.pose.{name}: unit of {observation}: {problem}")


def _require_seconds(field: str, value: float) -> None:
    require(0 <= value < math.inf, f"{field} must be seconds, 0 or more, found {value}")
