"""Units that a RobotSpec may name: free text, for people. Where two of the known ones meet, they must agree."""

from __future__ import annotations

import math
from collections.abc import Mapping

_FULL = 2 * math.pi
_KNOWN: Mapping[str, tuple[str, float]] = {  # what it measures, and how much of the SI unit it is
    **dict.fromkeys(("rad", "radian", "radians"), ("angle", 1.0)),
    **dict.fromkeys(("deg", "degree", "degrees", "°"), ("angle", _FULL / 360)),
    **dict.fromkeys(("rev", "turn", "turns"), ("angle", _FULL)),
    "rad/s": ("angular velocity", 1.0),
    **dict.fromkeys(("deg/s", "°/s"), ("angular velocity", _FULL / 360)),
    "rpm": ("angular velocity", _FULL / 60),
    "m": ("length", 1.0),
    "cm": ("length", 0.01),
    "mm": ("length", 0.001),
    "m/s": ("velocity", 1.0),
    "cm/s": ("velocity", 0.01),
    "mm/s": ("velocity", 0.001),
    "km/h": ("velocity", 1 / 3.6),
    **dict.fromkeys(("Nm", "N m"), ("torque", 1.0)),
    "mNm": ("torque", 0.001),
    "N": ("force", 1.0),
    "A": ("current", 1.0),
    "mA": ("current", 0.001),
}


def measure(unit: str) -> str:
    """What a unit measures, such as "angle"; empty of one that is not known."""
    return _KNOWN.get(unit.strip(), ("", 0.0))[0]


def si(unit: str) -> float:
    """How much of the SI unit it is; 1 of one that is not known."""
    return _KNOWN.get(unit.strip(), ("", 1.0))[1]


def disagreement(found: str, expected: str) -> str:
    """Why numbers in the unit `found` must not stand for such in `expected`, with the scale that mends it.

    Empty if they may, or if one of the two is not known.
    """
    ours, theirs = _KNOWN.get(found.strip()), _KNOWN.get(expected.strip())
    if ours is None or theirs is None or ours == theirs:
        return ""
    if ours[0] != theirs[0]:
        return f"expected {expected}, found {found}, which is a {ours[0]} and no {theirs[0]}"
    return (
        f"expected {expected}, found {found}; multiply `scale` (and `offset`) of it by {ours[1] / theirs[1]:.10g} and "
        f"write unit: {expected}"
    )
