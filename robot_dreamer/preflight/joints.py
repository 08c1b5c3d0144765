"""The joints that an action moves: whether it says where they are to be, and which quantity shows them. Names tell
that, unless two arms call their joints the same.
"""

from __future__ import annotations

from robot_dreamer.spec import ActionSpec, ObservationSpec, RobotSpec
from robot_dreamer.spec.action import TRAJECTORY, TWIST, TWIST_STAMPED
from robot_dreamer.spec.source import JOINT_STATE
from robot_dreamer.spec.units import measure


def shows(spec: RobotSpec, quantity: ObservationSpec, action: ActionSpec) -> bool:
    """Whether a quantity shows joints that an action moves.

    Where another topic has joints of these names too, as a leader beside its follower does, only `safety.pose` can say
    whose they are: the quantities of its topic are, and without it none.
    """
    shared = _joints(quantity) & set(action.command.names)
    alike = [q for q in spec.quantities if q.source.field == quantity.source.field and _joints(q) & shared]
    if len({q.source.topic for q in alike}) < 2:
        return bool(shared)
    pose = spec.safety.pose.get(action.name)
    return any(q.name == pose and q.source.topic == quantity.source.topic for q in spec.quantities)


def is_position(action: ActionSpec) -> bool:
    """Whether it commands where joints are to be, as far as its unit, or its trajectory's field, says."""
    command = action.command
    if action.discrete or command.type in (TWIST, TWIST_STAMPED):
        return False
    return command.field == "positions" if command.type == TRAJECTORY else measure(action.unit) in ("angle", "length")


def _joints(quantity: ObservationSpec) -> set[str]:
    return set(quantity.source.names) if quantity.source.type == JOINT_STATE else set()
