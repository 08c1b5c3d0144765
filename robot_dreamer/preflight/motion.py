"""Findings that need a robot that moves, be it by a person's hand: signs, scales, units and orders that contradict each
other. What agrees with itself and is wrong as a whole (all of it mirrored) is found by commands only, see `responses`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from robot_dreamer.preflight.evidence import Evidence, Heard, Track
from robot_dreamer.preflight.findings import Finding, note, stop
from robot_dreamer.preflight.follow import Array, Follows, changes, follows
from robot_dreamer.preflight.joints import shows

_ALIKE, _UNLIKE = 0.8, 0.5  # correlations
_SCALE = (0.75, 1.33)  # of what is the same but for noise and filters
_DEGREES = 180 / math.pi
_POSITIONS, _RATES = {"rad": 1.0, "m": 1.0, "deg": 1 / _DEGREES, "": 1.0}, {"rad/s": 1.0, "m/s": 1.0, "": 1.0}


def motion_findings(evidence: Evidence) -> Iterator[Finding]:
    """Of positions and velocities of the same joints, then of commands and what follows them."""
    for heard in evidence.heard.values():
        if heard.track.values and _is_position(heard):
            velocity = _velocity_of(heard, evidence)
            if velocity is not None:
                yield from _agreement(heard, velocity[0], velocity[1])
    yield from responses(evidence)


def responses(evidence: Evidence) -> Iterator[Finding]:
    """Of commands that somebody gave meanwhile: a joint goes where it is sent, not the other way."""
    for action in evidence.spec.actions:
        commands = evidence.commands.get(action.name)
        if commands is None or len(commands.times) < 2:  # a discrete one has no track
            continue
        for heard in evidence.heard.values():
            same = (commands.unit, heard.spec.source.field) in (
                ("rad", "position"),
                ("m", "position"),
                ("rad/s", "velocity"),
                ("m/s", "velocity"),
            )
            if same and heard.track.values and shows(evidence.spec, heard.spec, action):
                yield from _obeys(action.name, commands, heard)


def _is_position(heard: Heard) -> bool:
    source = heard.spec.source
    by_field = source.field == "position" and bool(source.names)
    return bool(source.names) and heard.spec.unit in _POSITIONS and (by_field or heard.spec.unit in ("rad", "m", "deg"))


def _velocity_of(heard: Heard, evidence: Evidence) -> tuple[str, Track] | None:
    """The quantity that shows velocities of the same joints, of the same topic if it can be; or what the same messages
    say of them. Velocities of another topic are not those of one arm, where two call their joints the same."""
    names, topic = heard.track.names, heard.spec.source.topic
    arms = {x.spec.source.topic for x in evidence.heard.values() if _is_position(x) and x.track.names == names}
    rates = [x for x in evidence.heard.values() if _is_rate(x) and x.track.values and x.track.names == names]
    here = [x for x in rates if x.spec.source.topic == topic]
    for other in here or (rates if len(arms) == 1 else []):
        return f"observation {other.spec.name}", other.track
    raw = evidence.velocities.get(heard.spec.name)
    return ("the velocity in the same messages", raw) if raw is not None and raw.values else None


def _is_rate(heard: Heard) -> bool:
    return heard.spec.unit in _RATES and (heard.spec.source.field == "velocity" or heard.spec.unit in ("rad/s", "m/s"))


def _agreement(heard: Heard, other: str, velocity: Track) -> Iterator[Finding]:
    where, names = f"observation {heard.spec.name}", heard.track.names
    unit = _POSITIONS[heard.spec.unit]
    times = np.asarray(heard.track.times)
    rates = _at(times, velocity)
    moved, said = changes(times, heard.track.array * unit, rates)
    well = []
    for i, name in enumerate(names):
        found = follows(moved[:, i], said[:, i])
        if found is not None and found.correlation > _ALIKE and _SCALE[0] < found.slope < _SCALE[1]:
            well.append(name)
        elif found is None or abs(found.correlation) < _UNLIKE:
            twin = _twin(moved[:, i], said, i)
            if twin is not None:
                yield stop(
                    where,
                    f"{name} moves as {names[twin]} does in {other}, not as {name}: wrong order",
                    "mend the order of `names` in the spec: it is that of the driver's numbers",
                )
        elif abs(found.correlation) > _ALIKE:
            yield _contradiction(where, name, other, found)
    rested = [name for i, name in enumerate(names) if follows(moved[:, i], said[:, i]) is None]
    if rested:
        text = f"{', '.join(rested)} moved too little to be compared with {other}"
        yield note(where, f"{text}: sign and scale are not known; move it by hand and check again")
    if well:
        yield note(where, f"agrees with {other} in sign and scale: {', '.join(well)}")


def _contradiction(where: str, name: str, other: str, found: Follows) -> Finding:
    if found.correlation < 0:
        text = f"{name} moves against {other}: sign"
        return stop(where, text, "one of the two is mirrored: give it a negative `scale`, or mend the driver")
    for factor, told in ((_DEGREES, "degrees beside rad/s"), (1 / _DEGREES, "rad beside deg/s")):
        if 0.9 < found.slope / factor < 1.1:
            return stop(
                where,
                f"{name} moves {found.slope:.3g} times as fast as {other} says: {told}",
                f"give what is in degrees scale: {math.pi / 180:.10g}",
            )
    text = f"{name} moves {found.slope:.3g} times as fast as {other} says: scale"
    return stop(where, text, "mend `scale` in the spec, or the gear ratio in the driver")


def _twin(moved: Array, said: Array, own: int) -> int | None:
    """Another joint whose velocity explains how this one moved."""
    for j in range(said.shape[1]):
        found = follows(moved, said[:, j])
        if j != own and found is not None and found.correlation > _ALIKE:
            return j
    return None


def _obeys(action: str, commands: Track, heard: Heard) -> Iterator[Finding]:
    times = np.asarray(heard.track.times)
    wanted, seen = _at(times, commands), heard.track.array
    for name in commands.names:
        if name not in heard.track.names:
            continue
        a = wanted[:, commands.names.index(name)]
        b = seen[:, heard.track.names.index(name)]
        inside = (times >= commands.times[0]) & (times <= commands.times[-1])
        a, b = a[inside] - np.mean(a[inside]), b[inside] - np.mean(b[inside])
        if len(a) < 20 or min(np.std(a), np.std(b)) < 0.01:
            continue
        correlation = float(a @ b / np.sqrt((a @ a) * (b @ b)))
        if correlation < -_ALIKE:
            yield stop(
                f"action {action}",
                f"{name} goes the other way than commanded (correlation {correlation:.2f}): sign",
                "give the command, or what is measured, a negative `scale`; look at the motor's direction",
            )
        elif abs(correlation) < _UNLIKE:
            for other in heard.track.names:
                c = seen[inside, heard.track.names.index(other)]
                c = c - np.mean(c)
                if other != name and np.std(c) > 0.01 and a @ c / np.sqrt((a @ a) * (c @ c)) > _ALIKE:
                    text = f"{other} moves when {name} is commanded: wrong order"
                    yield stop(f"action {action}", text, "mend the order of command.names: it is the controller's")


def _at(times: Array, track: Track) -> Array:
    """A track's values at other times, [times, names]."""
    known, values = np.asarray(track.times), track.array
    order = np.argsort(known, kind="stable")
    return np.stack([np.interp(times, known[order], column[order]) for column in values.T], -1)
