"""How a robot is moved to see whether its joints are what the spec says: one joint after the other, little, and back.

  position           a wave around where the joint stands
  velocity, effort   a wave around the neutral command

The wave rises, falls below its middle and comes back, beginning and ending at rest. So it says which way is positive,
and a velocity or an effort takes back what it did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.preflight.joints import shows
from robot_dreamer.spec import ActionSpec, ObservationSpec, RobotSpec
from robot_dreamer.spec.action import TRAJECTORY, TWIST, TWIST_STAMPED
from robot_dreamer.spec.source import JOINT_STATE
from robot_dreamer.spec.units import disagreement, measure, si

SECONDS = 2.0  # of a wave
SHARE = 0.05  # of a command's range
MOST = {"angle": 0.1, "length": 0.02, "angular velocity": 0.3, "velocity": 0.1}  # rad, m, rad/s, m/s
_COMMANDS = 4  # of a wave at least; of fewer it depends on the moment whether one is off its middle at all
_PEAK = 3 * math.sqrt(3) / 4  # of sin(x) (1 - cos(x))

Kind = Literal["position", "velocity", "effort"]
_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("angle", "length"), "position"),
    **dict.fromkeys(("angular velocity", "velocity"), "velocity"),
    **dict.fromkeys(("torque", "force", "current"), "effort"),
}


class Motion(NamedTuple):
    """What one joint is to do.

    Attributes:
      place: of the joint in the action's numbers.
      amplitude: in `unit`.
      far: how far from its place a position sensor may see the joint before it is stopped, rad or m.
    """

    action: str
    place: int
    name: str
    kind: Kind
    unit: str
    amplitude: float
    far: float


class Places:
    """Where the joints stand, as the messages of a spec's JointStates say.

    Attributes:
      now: the newest position of each, by quantity and joint, in rad or m: two arms may call their joints the same.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self.now: dict[tuple[str, str], float] = {}
        self._quantities = [q for q in spec.quantities if q.source.type == JOINT_STATE and q.source.field == "position"]

    def hear(self, topic: str, message: Any) -> None:
        """A message of a topic as the spec writes it; other topics are ignored."""
        for quantity in self._quantities:
            if quantity.source.topic != topic:
                continue
            said = dict(zip(message.name, message.position, strict=False))
            numbers = quantity.from_message(np.array([said.get(name, math.nan) for name in quantity.source.names]))
            found = dict(zip(quantity.source.names, numbers * si(quantity.unit), strict=True))
            self.now |= {(quantity.name, name): float(x) for name, x in found.items() if math.isfinite(x)}


def wave(seconds: float) -> float:
    """From -1 to 1, at a time since the wave began: 0 before and after it, and no step in its slope."""
    if not 0.0 < seconds < SECONDS:
        return 0.0
    x = 2 * math.pi * seconds / SECONDS
    return math.sin(x) * (1 - math.cos(x)) / _PEAK


def motions_of(spec: RobotSpec) -> list[Motion]:
    """Of all joints, in the order of the spec.

    Raises:
      ValueError: an action cannot be tried so, or the robot is too slow for it. None is then: whoever commands some of
        a robot commands all of it.
    """
    if spec.rate * SECONDS < _COMMANDS:
        raise ValueError(
            f"at {spec.rate:g} Hz a wave of {SECONDS:g} s has fewer than {_COMMANDS} commands; wiggle with a copy of "
            f"the spec that says a rate of {_COMMANDS / SECONDS:g} Hz or more"
        )
    return [motion for action in spec.actions for motion in _motions(spec, action)]


def standing(spec: RobotSpec, action: ActionSpec) -> ObservationSpec | None:
    """The quantity that shows where the joints of a position command stand; None: it needs none.

    Raises:
      ValueError: it needs one and the spec has none.
    """
    if _kind(action, 0)[0] != "position":
        return None
    wanted, found = set(action.command.names), list[ObservationSpec]()
    for quantity in spec.quantities:
        all_of_them = quantity.source.field == "position" and wanted <= set(quantity.source.names)
        if all_of_them and shows(spec, quantity, action) and not disagreement(quantity.unit, action.unit):
            found.append(quantity)
    if not found:
        raise ValueError(
            f"action {action.name}: no quantity of the spec shows the positions of {', '.join(action.command.names)} "
            f"in {action.unit}, so a command would be a leap; add one (watched: will do), and where two topics have "
            "joints of these names say in safety.pose which it is"
        )
    pose = spec.safety.pose.get(action.name)
    return next((quantity for quantity in found if quantity.name == pose), found[0])


def _motions(spec: RobotSpec, action: ActionSpec) -> list[Motion]:
    if action.discrete:
        raise ValueError(f"action {action.name}: it is discrete; the wiggle needs a command with a range")
    if not action.command.names:
        raise ValueError(f"action {action.name}: command.names must say which joints its numbers are")
    standing(spec, action)
    found = []
    for i, name in enumerate(action.command.names):
        kind, what, unit = _kind(action, i)
        amplitude = SHARE * (action.high[i] - action.low[i])
        if what in MOST:
            amplitude = min(amplitude, MOST[what] / si(unit))
        far = 3 * amplitude * si(unit) * (SECONDS if kind == "velocity" else 1.0) if kind != "effort" else 0.2
        found.append(Motion(action.name, i, name, kind, unit, amplitude, far))
    return found


def _kind(action: ActionSpec, index: int) -> tuple[Kind, str, str]:
    """Kind of the command, what it measures, its unit. Raises ValueError where the unit does not say it."""
    command = action.command
    if command.type in (TWIST, TWIST_STAMPED):
        angular = command.names[index].startswith("angular")
        return "velocity", "angular velocity" if angular else "velocity", "rad/s" if angular else "m/s"
    what = measure(action.unit)
    if what not in _KINDS:
        raise ValueError(
            f"action {action.name}: unit must say whether it commands positions (rad, m), velocities (rad/s, m/s) or "
            f"efforts (Nm, N, A), found {action.unit!r}"
        )
    kind = _KINDS[what]
    fields = {"positions": "position", "velocities": "velocity", "effort": "effort"}
    if command.type == TRAJECTORY and fields[command.field] != kind:
        raise ValueError(f"action {action.name}: unit {action.unit} is no {command.field}, as command.field says")
    return kind, what, action.unit


def command_of(motion: Motion, rest: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """The action's numbers at a time since the motion began; rest: those of the robot at rest."""
    command = np.array(rest)
    command[motion.place] += motion.amplitude * wave(seconds)
    return command
