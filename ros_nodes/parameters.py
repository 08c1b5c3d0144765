"""ROS parameters of a node, declared from a table of settings (robot_dreamer/settings)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from robot_dreamer.settings.setting import Setting, refuse_unknown, settings_of

_OF_ROS = ("use_sim_time", "start_type_description_service")  # declared by rclpy itself
_Table = TypeVar("_Table")


class ParameterError(ValueError):
    """A parameter has an unknown name, or the wrong type or value; the message names it."""


def require_read(words: Sequence[str] | None) -> None:
    """Raise ParameterError for words of a command line that ROS 2 does not take for parameters, and nobody else reads.

    words: without the program's name; None: those of this process.
    """
    left, inside = list[str](), False
    for word in sys.argv[1:] if words is None else words:
        if word == ("--" if inside else "--ros-args"):
            inside = not inside
        elif not inside:  # `robot:=so101` too, which rcl takes for a remapping, as it was said long ago
            left.append(word)
    if left:
        expected = "parameters stand behind --ros-args, such as --ros-args -p robot:=my_robot.yaml"
        raise ParameterError(f"nobody reads {' '.join(left)!r}: {expected}; docs/settings.md lists them")


def declare(node: Node, table: type[_Table]) -> _Table:
    """Declare all settings of a table as parameters of `node`, and read them.

    Raises:
      ParameterError: wrong type, out of range, not one of the choices; or a name that nobody declares, which would
        otherwise be a setting that a person believes in and nobody reads.
    """
    given = {name: parameter.value for name, parameter in node._parameter_overrides.items()}
    settings = settings_of(table)
    others = [name for name in given if name not in _OF_ROS and not name.startswith("qos_overrides.")]
    try:
        refuse_unknown(others, [entry.name for entry in settings], "parameter")
        values = table(**{entry.name: entry.check(given.get(entry.name, entry.default)) for entry in settings})
    except ValueError as error:
        text = str(error)
        raise ParameterError(text if text.startswith("unknown") else f"parameter {text}") from error
    for entry in settings:
        node.declare_parameter(entry.name, getattr(values, entry.name), _descriptor(entry), ignore_override=True)
    return values


def _descriptor(entry: Setting) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=entry.description, read_only=not entry.changes)
    if entry.least is not None and entry.most is not None:
        bounds: dict[str, Any] = {"from_value": entry.least, "to_value": entry.most}
        if entry.kind == "float":
            descriptor.floating_point_range = [FloatingPointRange(**bounds, step=0.0)]
        else:
            descriptor.integer_range = [IntegerRange(**bounds, step=1)]
    return descriptor
