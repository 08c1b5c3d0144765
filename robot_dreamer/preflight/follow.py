"""Whether one signal is the rate of change of another: positions and velocities of the same joints tell of each other's
sign, scale and order, and an orientation tells of the rates and the acceleration beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_WINDOW = 0.2  # seconds over which changes are compared: shorter is noise, longer cancels out
_PAUSE = 0.5  # seconds; over a gap nothing is compared
_ENOUGH = 10  # windows
_MOVED = 0.005  # rms of a window's change, rad or m; less is no movement
_TURN, _SUDDEN = 3.0, 5.0  # rad, and usual steps: a step that is larger than both is an angle that was wrapped

Array = NDArray[np.float64]


class Changes(NamedTuple):
    """Over many short windows: by how much positions changed, and what the velocities say. Both [windows, joints]."""

    positions: Array
    velocities: Array


class Follows(NamedTuple):
    """How a column of changes follows another: correlation, and how much larger it is. None: too little moved."""

    correlation: float
    slope: float


def changes(times: Array, positions: Array, velocities: Array) -> Changes:
    """Args: times [n], seconds; positions and velocities [n, joints]."""
    order = np.argsort(times, kind="stable")
    times, positions, velocities = times[order], positions[order], velocities[order]
    steps = np.diff(times)[:, None]
    integral = np.concatenate([np.zeros((1, velocities.shape[1])), np.cumsum(steps * _middle(velocities), 0)])
    usual = float(np.median(steps)) if len(steps) else 0.0
    lag = max(1, round(_WINDOW / usual)) if usual > 0 else 1
    if len(times) <= lag:
        return Changes(positions[:0], velocities[:0])
    whole = times[lag:] - times[:-lag] < _PAUSE
    moved, said = positions[lag:] - positions[:-lag], integral[lag:] - integral[:-lag]
    wraps = np.concatenate([[0], np.cumsum(_jumps(positions).any(1))])
    kept = whole & (wraps[lag:] == wraps[:-lag])
    return Changes(moved[kept], said[kept])


def follows(moved: Array, said: Array) -> Follows | None:
    """How one column of changes [windows] follows another."""
    if len(moved) < _ENOUGH or min(rms(moved), rms(said)) < _MOVED:
        return None
    return Follows(float(moved @ said / np.sqrt((moved @ moved) * (said @ said))), float(moved @ said / (said @ said)))


def rotations(quaternions: Array) -> Array:
    """Between neighbours of orientations [n, 4] (x, y, z, w): rotation vectors in the body's frame [n - 1, 3], rad."""
    a, b = quaternions[:-1], quaternions[1:]
    vector = a[:, 3:] * b[:, :3] - b[:, 3:] * a[:, :3] - np.cross(a[:, :3], b[:, :3])
    scalar = (a * b).sum(1, keepdims=True)
    vector, scalar = np.where(scalar < 0, -vector, vector), np.abs(scalar)
    sine = np.linalg.norm(vector, axis=1, keepdims=True)
    return vector * np.where(sine > 1e-9, 2 * np.arctan2(sine, scalar) / np.maximum(sine, 1e-9), 2.0)


def ups(quaternions: Array) -> Array:
    """Where "up" of the world is in the frames of orientations [n, 4], [n, 3]."""
    x, y, z, w = quaternions.T
    return np.stack([2 * (x * z - w * y), 2 * (w * x + y * z), 1 - 2 * (x * x + y * y)], -1)


def _jumps(positions: Array) -> NDArray[np.bool_]:
    """Which steps [n - 1, joints] are no movement."""
    steps = np.abs(np.diff(positions, axis=0))
    return (steps > _TURN) & (steps > _SUDDEN * np.median(steps, 0))


def _middle(values: Array) -> Array:
    return (values[1:] + values[:-1]) / 2


def rms(values: Array) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(values**2)))
