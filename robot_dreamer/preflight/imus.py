"""Findings about an IMU, whose three readings tell of each other: at rest the acceleration points up and is 9.81 m/s²
(REP 145), and the orientation turns by the angular velocity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from robot_dreamer.preflight.evidence import Evidence, Track
from robot_dreamer.preflight.findings import Finding, note, stop, warning
from robot_dreamer.preflight.follow import Array, changes, follows, rotations, ups

_GRAVITY = 9.81
_QUIET = 0.2  # rad/s, of a robot at rest; without a gyroscope everything counts
_TOLERANCE = 25.0  # degrees between what two readings call up
_ENOUGH = 10
_AXES = "xyz"


def imu_findings(evidence: Evidence) -> Iterator[Finding]:
    """Of each IMU topic."""
    for topic, tracks in evidence.imus.items():
        known = {name: track for name, track in tracks.items() if len(track.times) >= _ENOUGH}
        yield from _gravity(f"topic {topic}", known)
        yield from _turning(f"topic {topic}", known)


def _gravity(where: str, known: Mapping[str, Track]) -> Iterator[Finding]:
    if "linear_acceleration" not in known:
        return
    acceleration = known["linear_acceleration"].array
    gyro = known.get("angular_velocity")
    quiet = np.ones(len(acceleration), bool)
    if gyro is not None and len(gyro.times) == len(acceleration):
        quiet = np.linalg.norm(gyro.array, axis=1) < _QUIET
    if quiet.sum() < _ENOUGH:
        return
    up = acceleration[quiet].mean(0)
    norm = float(np.linalg.norm(up))
    if not 0.85 * _GRAVITY < norm < 1.15 * _GRAVITY:
        units = (("g", _GRAVITY), ("mg", _GRAVITY / 1000))
        told = next((f"it is in {unit}" for unit, worth in units if 0.85 < norm * worth / _GRAVITY < 1.15), "scale")
        yield stop(
            where,
            f"linear_acceleration at rest: expected {_GRAVITY} m/s² upwards, found {norm:.4g}: {told}",
            "let the driver send m/s² with gravity in it (REP 145)",
        )
        return
    orientation = known.get("orientation")
    if orientation is None or len(orientation.times) != len(acceleration):
        return
    quaternions = orientation.array[quiet]
    angle = _angle(ups(quaternions).mean(0), up)
    if angle < _TOLERANCE:
        yield note(where, f"orientation and acceleration agree about up, within {angle:.0f} degrees")
        return
    said = f"orientation and linear_acceleration disagree about up, by {angle:.0f} degrees"
    if _angle(ups(quaternions[:, [1, 2, 3, 0]]).mean(0), up) < _TOLERANCE:
        yield stop(where, f"{said}: it looks like a quaternion in the order w, x, y, z", "send x, y, z, w, as ROS does")
    elif angle > 180 - _TOLERANCE:
        yield stop(where, f"{said}: sign", "at rest the acceleration points up, +9.81 (REP 145): mend its sign")
    else:
        yield stop(
            where,
            f"{said}: they are of different frames",
            "give all readings in one frame, that of header.frame_id; look at how the IMU is mounted",
        )


def _turning(where: str, known: Mapping[str, Track]) -> Iterator[Finding]:
    orientation, gyro = known.get("orientation"), known.get("angular_velocity")
    if orientation is None or gyro is None or len(orientation.times) != len(gyro.times):
        return
    turned = np.concatenate([np.zeros((1, 3)), np.cumsum(rotations(orientation.array), 0)])
    moved, said = changes(np.asarray(gyro.times), turned, gyro.array)
    for i, axis in enumerate(_AXES):
        found = follows(moved[:, i], said[:, i])
        if found is None:
            continue
        if found.correlation < -0.8:
            yield stop(
                where, f"angular_velocity.{axis} turns against the orientation: sign", "mend its sign or its frame"
            )
        elif found.correlation > 0.8 and not 0.7 < found.slope < 1.4:
            unit = " (deg/s for rad/s?)" if found.slope < 0.03 else ""
            speed = f"{found.slope:.3g} times as fast as angular_velocity.{axis} says"
            text = f"the orientation turns {speed}: scale{unit}"
            yield stop(where, text, "let the driver send rad/s")
        elif abs(found.correlation) < 0.5 and (twin := _twin(moved[:, i], said, i)):
            text = f"the orientation turns about {axis} when angular_velocity says {twin}: axes are swapped"
            yield warning(where, text, "give all readings in one frame; look at how the IMU is mounted")


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
