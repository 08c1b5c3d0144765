"""From the numbers of a source to an observation array: one function for the robot and for simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.pictures import PictureError, depth_picture, fit_picture
from robot_dreamer.spec import ObservationSpec
from robot_dreamer.spec.source import DISTANCES


class ObservationError(ValueError):
    """Values do not fit the observation; the message names it, what was expected and what was found."""


def encode_observation(spec: ObservationSpec, values: NDArray[Any]) -> NDArray[Any]:
    """Encode the values of `spec.source` as the observation at one tick, dtype and `reading_shape` as in the spec.

    Args:
      spec: the observation.
      values: [names] in the order of source.names, or [elements] of `source`; an orientation x, y, z, w by either sign:
        what comes out has w of at least 0. Of a picture uint8
        [height, width, channels], before crop and resize; of depth float32 [height, width, 1], m.

    Raises:
      ObservationError: wrong shape or dtype, or a number that is not finite.
    """
    encoded = _picture(spec, np.asarray(values)) if spec.dtype == "uint8" else _vector(spec, values)
    if encoded.shape != spec.reading_shape:
        expected, found = list(spec.reading_shape), list(encoded.shape)
        raise ObservationError(f"observation {spec.name}: expected {expected}, found {found}")
    return encoded


def _vector(spec: ObservationSpec, values: NDArray[Any]) -> NDArray[np.float32]:
    numbers = spec.from_message(np.asarray(values, np.float64))
    if spec.source.field == "orientation" and numbers.shape == (4,) and numbers[3] < 0.0:
        numbers = -numbers  # the same orientation: drivers send either sign, and a simulation both, one after the other
    if spec.encoding == "cos_sin":  # angle by angle: cos, sin, cos, sin, …
        numbers = np.stack([np.cos(numbers), np.sin(numbers)], -1).reshape(-1)
    elif spec.encoding == "projected_gravity":
        numbers = _down(numbers)
    elif spec.source.type in DISTANCES:
        nearest, farthest = spec.range
        numbers = np.clip(numbers, nearest, farthest)
    encoded = numbers.astype(np.float32)
    if not all_finite(encoded):
        raise ObservationError(f"observation {spec.name}: expected finite numbers, found {values}")
    return encoded


def all_finite(numbers: NDArray[np.floating[Any]]) -> bool:
    """All numbers are. Of a few, numpy's `all` would take longer than all else that is done with them in a tick."""
    return b"\0" not in np.isfinite(numbers).tobytes()


def _picture(spec: ObservationSpec, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if spec.range and pixels.dtype == np.float32:
        pixels = depth_picture(pixels, *spec.range)
    elif spec.range or pixels.dtype != np.uint8:
        expected = "depth in m, because it has a range" if spec.range else "uint8 (depth needs range: [near, far])"
        raise ObservationError(f"observation {spec.name}: expected {expected}, found {pixels.dtype}")
    try:
        return fit_picture(pixels, spec.shape, spec.picture)
    except PictureError as error:
        raise ObservationError(f"observation {spec.name}: {error}") from error


def _down(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where "down" of the world, (0, 0, -1), is in a frame of the orientation x, y, z, w of norm 1; [3]."""
    x, y, z, w = quaternion.tolist()
    return np.array([2 * (w * y - x * z), -2 * (w * x + y * z), 2 * (x * x + y * y) - 1])
