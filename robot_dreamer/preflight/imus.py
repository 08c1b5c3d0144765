"""Findings about an IMU, whose three readings tell of each other: at rest the acceleration points up and is 9.81 m/s²
(REP 145), and the orientation turns by the angular velocity.

Only what the spec reads can stop the robot. The other readings are witnesses: one that never changes is not filled in
and says nothing, one that contradicts is worth a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from robot_dreamer.preflight.evidence import Evidence, Track
from robot_dreamer.preflight.findings import Finding, note, stop, warning
from robot_dreamer.preflight.follow import Array, changes, follows, rotations, ups

_GRAVITY = 9.81
_QUIET = 0.2  # rad/s, of a robot at rest; without a gyroscope everything counts
_TOLERANCE = 25.0  # degrees between what two readings call up
_ENOUGH = 10
_AXES = "xyz"


class _Imu(NamedTuple):
    """One IMU topic: its readings that can be compared, by field, and the fields that the spec reads."""

    where: str
    tracks: dict[str, Track]
    read: frozenset[str]

    def contradiction(self, *names: str) -> Callable[[str, str, str], Finding]:
        """The weight of what contradicts: fields that are all read stop the robot."""
        return stop if self.read.issuperset(names) else warning


def imu_findings(evidence: Evidence) -> Iterator[Finding]:
    """Of each IMU topic."""
    for topic, tracks in evidence.imus.items():
        where = f"topic {topic}"
        sources = [o.source for o in evidence.spec.quantities]
        read = frozenset(source.field for source in sources if source.topic == topic)
        for name, track in tracks.items():
            if track.broken and name not in read:  # of what is read the quantity says it
                yield note(where, f"{track.broken} of {name} were not finite; the spec does not read it")
        known = {name: track for name, track in tracks.items() if _tells(track, name in read)}
        imu = _Imu(where, known, read)
        if "linear_acceleration" in known:
            yield from _gravity(imu)
        if {"orientation", "angular_velocity"} <= known.keys():
            yield from _turning(imu)


def _tells(track: Track, read: bool) -> bool:
    return len(track.times) >= _ENOUGH and (read or bool(np.ptp(track.array, 0).any()))


def _gravity(imu: _Imu) -> Iterator[Finding]:
    where, acceleration = imu.where, imu.tracks["linear_acceleration"]
    times = _resting(acceleration, imu.tracks.get("angular_velocity"))
    if len(times) < _ENOUGH:
        return
    up = _at(times, acceleration).mean(0)
    norm = float(np.linalg.norm(up))
    if not 0.85 * _GRAVITY < norm < 1.15 * _GRAVITY:
        units = (("g", _GRAVITY), ("mg", _GRAVITY / 1000))
        told = next((f"it is in {unit}" for unit, worth in units if 0.85 < norm * worth / _GRAVITY < 1.15), "scale")
        yield imu.contradiction("linear_acceleration")(
            where,
            f"linear_acceleration at rest: expected {_GRAVITY} m/s² upwards, found {norm:.4g}: {told}",
            "let the driver send m/s² with gravity in it (REP 145)",
        )
        return
    orientation = imu.tracks.get("orientation")
    if orientation is None or not imu.read & {"orientation", "linear_acceleration"}:
        return
    times = np.intersect1d(times, orientation.times)
    if len(times) < _ENOUGH:
        return
    quaternions, up = _at(times, orientation), _at(times, acceleration).mean(0)
    angle = _angle(ups(quaternions).mean(0), up)
    if angle < _TOLERANCE:
        yield note(where, f"orientation and acceleration agree about up, within {angle:.0f} degrees")
        return
    said = f"orientation and linear_acceleration disagree about up, by {angle:.0f} degrees"
    both = imu.contradiction("orientation", "linear_acceleration")
    if _angle(ups(quaternions[:, [1, 2, 3, 0]]).mean(0), up) < _TOLERANCE:
        text = f"{said}: it looks like a quaternion in the order w, x, y, z"
        yield imu.contradiction("orientation")(where, text, "send x, y, z, w, as ROS does")
    elif angle > 180 - _TOLERANCE:
        yield both(where, f"{said}: sign", "at rest the acceleration points up, +9.81 (REP 145): mend its sign")
    else:
        yield both(
            where,
            f"{said}: they are of different frames",
            "give all readings in one frame, that of header.frame_id; look at how the IMU is mounted",
        )


def _turning(imu: _Imu) -> Iterator[Finding]:
    where, gyro, orientation = imu.where, imu.tracks["angular_velocity"], imu.tracks["orientation"]
    times = np.intersect1d(gyro.times, orientation.times)
    if len(times) < _ENOUGH or not imu.read & {"orientation", "angular_velocity"}:
        return
    turned = np.concatenate([np.zeros((1, 3)), np.cumsum(rotations(_at(times, orientation)), 0)])
    moved, said = changes(times, turned, _at(times, gyro))
    both = imu.contradiction("orientation", "angular_velocity")
    for i, axis in enumerate(_AXES):
        found = follows(moved[:, i], said[:, i])
        if found is None:
            continue
        if found.correlation < -0.8:
            yield both(
                where, f"angular_velocity.{axis} turns against the orientation: sign", "mend its sign or its frame"
            )
        elif found.correlation > 0.8 and not 0.7 < found.slope < 1.4:
            unit = " (deg/s for rad/s?)" if found.slope < 0.03 else ""
            speed = f"{found.slope:.3g} times as fast as angular_velocity.{axis} says"
            text = f"the orientation turns {speed}: scale{unit}"
            yield both(where, text, "let the driver send rad/s")
        elif abs(found.correlation) < 0.5 and (twin := _twin(moved[:, i], said, i)):
            text = f"the orientation turns about {axis} when angular_velocity says {twin}: axes are swapped"
            yield warning(where, text, "give all readings in one frame; look at how the IMU is mounted")


def _resting(acceleration: Track, gyro: Track | None) -> Array:
    """Times at which the acceleration is gravity alone, as far as is known."""
    if gyro is None:
        return np.unique(acceleration.times)
    times = np.intersect1d(acceleration.times, gyro.times)
    quiet: Array = times[np.linalg.norm(_at(times, gyro), axis=1) < _QUIET]
    return quiet


def _at(times: Array, track: Track) -> Array:
    """What a track says at some of its times, [times, names]."""
    known, first = np.unique(track.times, return_index=True)
    return track.array[first[np.searchsorted(known, times)]]


def _twin(moved: Array, said: Array, own: int) -> str:
    for j, axis in enumerate(_AXES):
        found = follows(moved, said[:, j])
        if j != own and found is not None and abs(found.correlation) > 0.8:
            return axis
    return ""


def _angle(a: Array, b: Array) -> float:
    """Between two vectors, degrees."""
    cosine = a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
