"""Findings about the numbers of each quantity: whether they can be read, are finite, move and lie where they should."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.preflight.evidence import Evidence, Heard
from robot_dreamer.preflight.findings import Finding, note, stop, warning
from robot_dreamer.preflight.joints import shows
from robot_dreamer.spec import RobotSpec, Source
from robot_dreamer.spec.source import BATTERY, DISTANCES, IMU, JOINT_STATE

_ENOUGH = 5  # readings before anything is said of movement
_TURNS = 4 * math.pi  # rad; more than two turns of a joint are probably degrees
_SLACK = 0.02  # of a span, that a reading may be beyond it


class Limits(NamedTuple):
    """What the spec says of a quantity's numbers, per component. `whose`: where it says so."""

    whose: str
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def reading_findings(evidence: Evidence) -> Iterator[Finding]:
    """Of all quantities that were heard at all."""
    for heard in evidence.heard.values():
        where = f"observation {heard.spec.name}"
        for problem, count in heard.problems.most_common(3):
            yield stop(
                where,
                f"{problem} ({count} of {heard.read} messages)",
                "mend the driver, or the spec (names, shape, picture: {size: …}, range, unit)",
            )
        if heard.broken:
            yield stop(
                where,
                f"{heard.broken / heard.read:.0%} of its messages have numbers that are not finite (NaN)",
                "mend the driver: each such message costs the episode",
            )
        good = heard.read - heard.broken - sum(heard.problems.values())
        if good >= _ENOUGH:
            yield from _movement(where, heard)
            yield from _place(where, heard, evidence.spec)


def _movement(where: str, heard: Heard) -> Iterator[Finding]:
    source = heard.spec.source
    if not heard.changed and not source.hold and source.type != BATTERY:
        if source.type == IMU:  # even at rest it is never the same to the last bit
            yield stop(
                where,
                f"frozen: {heard.read} readings are the same to the last bit, which no real IMU shows",
                "look at the driver: it sends an old reading again and again",
            )
        else:
            yield warning(
                where,
                f"frozen: {heard.read} readings are the same to the last bit",
                "move the robot, or what it sees, and check again: it must change",
            )
        return
    if source.type != JOINT_STATE or not heard.track.values:
        return
    still = [n for n, moved in zip(heard.track.names, np.ptp(heard.track.array, 0), strict=True) if not moved]
    if still:
        yield warning(
            where,
            f"{', '.join(still)} never changed, to the last bit, while others did",
            "move it by hand and check again; an encoder may be dead, or the driver fill in a constant",
        )


def _place(where: str, heard: Heard, spec: RobotSpec) -> Iterator[Finding]:
    """Where its numbers lie, against what the spec says of them."""
    if not heard.track.values:
        return
    if heard.spec.source.type in DISTANCES:
        yield from _distances(where, heard)
        return
    values, names = heard.track.array, heard.track.names
    low, high = values.min(0), values.max(0)
    for limit in limits_of(heard, spec):
        span = limit.high - limit.low
        slack = _SLACK * np.where(np.isfinite(span), span, 0.0)
        out = [i for i in range(len(names)) if low[i] < limit.low[i] - slack[i] or high[i] > limit.high[i] + slack[i]]
        if out:
            shown = ", ".join(f"{names[i]} {low[i]:.4g} to {high[i]:.4g}" for i in out[:4])
            allowed = ", ".join(f"{limit.low[i]:.4g} to {limit.high[i]:.4g}" for i in out[:4])
            unit, advice = _unit(heard, limit)
            yield stop(where, f"{shown}; {limit.whose} says {allowed}{unit}", advice)
            return
    angles = heard.spec.unit in ("rad", "") and _are_joints(heard.spec.source)
    most = float(np.abs(values).max())
    if (angles or heard.spec.encoding == "cos_sin") and most > _TURNS:
        yield warning(
            where,
            f"angles up to {most:.4g} {heard.spec.unit or 'rad'}, which is {most / 2 / math.pi:.1f} turns: degrees?",
            f"if the driver sends degrees, give the observation scale: [{math.pi / 180:.10g}, …]",
        )
    told = ", ".join(f"{n} {a:.4g} to {b:.4g}" for n, a, b in list(zip(names, low, high, strict=True))[:6])
    yield note(where, f"{told}{', …' if len(names) > 6 else ''} {heard.spec.unit}".rstrip())


def limits_of(heard: Heard, spec: RobotSpec) -> list[Limits]:
    """Of a vector: its range, the guard's limits on it, and those of a command that moves the same joints."""
    found = []
    size, o = len(heard.track.names), heard.spec
    if o.range:
        found.append(Limits("its range", np.full(size, o.range[0]), np.full(size, o.range[1])))
    for limit in spec.safety.limits:
        if limit.observation == o.name:
            low, high = np.asarray(limit.low or [-math.inf] * size), np.asarray(limit.high or [math.inf] * size)
            found.append(Limits("safety.limits", low, high))
    for action in spec.actions:
        names = action.command.names
        same = action.unit == o.unit and action.unit in ("rad", "m")
        joints = set(o.source.names) <= set(names) and shows(spec, o, action)
        if same and _are_joints(o.source) and joints and not action.discrete:
            index = [names.index(name) for name in o.source.names]
            found.append(Limits(f"action {action.name}", np.asarray(action.low)[index], np.asarray(action.high)[index]))
    return found


def _are_joints(source: Source) -> bool:
    """Positions of joints, and not where a body is, which has no joints and is in m."""
    return source.type == JOINT_STATE and source.field == "position"


def _distances(where: str, heard: Heard) -> Iterator[Finding]:
    """What is beyond the range becomes its end, so a wrong unit would never be refused."""
    values, (near, far) = heard.track.array, heard.spec.range
    seen = values[np.isfinite(values)]
    advice = "distances are in m: mend the driver's unit, or range"
    if not seen.size:
        yield warning(where, "it saw nothing in any direction", "put something before it, and look at its own limits")
    elif (seen >= far).all() or (seen <= near).all():
        found = f"{seen.min():.4g} to {seen.max():.4g}"
        yield stop(where, f"all distances are outside of its range {near:g} to {far:g} m, found {found}", advice)
    else:
        yield note(where, f"{seen.min():.4g} to {seen.max():.4g} m; saw nothing in {1 - seen.size / values.size:.0%}")


def _unit(heard: Heard, limit: Limits) -> tuple[str, str]:
    """Which other unit would explain it, and what to do."""
    values = heard.track.array
    for factor, unit, what in ((math.pi / 180, "rad", "degrees, not radians"), (0.001, "m", "mm, not m")):
        inside = (values * factor >= limit.low).all() and (values * factor <= limit.high).all()
        if inside and heard.spec.unit == unit:
            return f": {what}?", f"give the observation scale: [{factor:.10g}, …], or mend the driver"
    advice = "mend unit, scale, sign or order of names in the spec, or the limits; or the robot stands outside of them"
    return "", advice
