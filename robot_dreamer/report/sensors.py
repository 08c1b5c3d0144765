"""What the components of an observation or action are called, and in which unit they are."""

from __future__ import annotations

from robot_dreamer.spec import RobotSpec


def component_names(spec: RobotSpec | None, name: str, count: int) -> list[str]:
    """Names of the `count` components of an observation or action: joints where the spec names them."""
    own: list[str] = []
    if spec is not None:
        for o in spec.quantities:
            if o.name == name:
                own = list(o.components)
        for a in spec.actions:
            if a.name == name:
                own = list(a.command.names)
    if len(own) == count:
        return own
    return [name] if count == 1 else [f"{name}[{i}]" for i in range(count)]


def component_units(spec: RobotSpec | None, name: str, count: int) -> list[str]:
    """Units of the components; "" where the spec says none. One unit counts for all."""
    text = ""
    if spec is not None:
        text = next((o.unit for o in spec.quantities if o.name == name), text)
        if any(o.name == name and o.encoding == "cos_sin" for o in spec.quantities):
            return ["1"] * count
    units = [part.strip() for part in text.split(",")]
    if len(units) == count:
        return units
    return [text] * count


def with_unit(label: str, unit: str) -> str:
    """An axis label."""
    return f"{label} ({unit})" if unit else label
