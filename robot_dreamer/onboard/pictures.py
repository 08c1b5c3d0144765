"""From a camera's picture to what the policy sees: crop, grey, and a smaller picture by averaging areas.

Averaging areas is what a sensor with larger pixels would see; picking or interpolating pixels shows fine structure as
noise. The same function runs on the robot and in simulation.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import Picture

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class PictureError(ValueError):
    """A picture is not as the spec says; the message tells what was expected and what was found."""


def fit_picture(pixels: NDArray[np.uint8], shape: tuple[int, ...], picture: Picture | None) -> NDArray[np.uint8]:
    """Crop, turn grey and shrink a picture to `shape`.

    Args:
      pixels: uint8 [height, width, 1 or 3].
      shape: height, width and 1 or 3 channels of the result. Colour becomes grey, grey never colour.
      picture: what the camera shows and which part of it; None: it must have the right height and width already.

    Raises:
      PictureError: another size, or grey where colour is needed.
    """
    expected = shape[:2] if picture is None else picture.size
    if pixels.ndim != 3 or pixels.shape[:2] != expected:
        raise PictureError(f"expected a picture of {_show(expected)}, found {_show(pixels.shape[:2])}")
    if shape[2] > pixels.shape[2]:
        raise PictureError("expected colours, found a grey picture")
    if picture is not None and picture.crop:
        top, left, height, width = picture.crop
        pixels = pixels[top : top + height, left : left + width]
    if pixels.shape == shape:
        return pixels
    values: NDArray[np.float32] | NDArray[np.uint8] = pixels
    if shape[2] < pixels.shape[2]:
        values = (pixels @ _LUMA)[..., None]
    values = _average(_average(values, 0, shape[0]), 1, shape[1])
    return np.rint(values).astype(np.uint8)


def depth_picture(metres: NDArray[np.float32], near: float, far: float) -> NDArray[np.uint8]:
    """Depth as grey: `near` and what is nearer is 0, `far` and what is farther 255; what was not measured (NaN) counts
    as far. float32 of any shape, m."""
    grey: NDArray[np.float32] = (metres - np.float32(near)) * np.float32(255 / (far - near))
    grey[np.isnan(grey)] = 255
    np.clip(grey, 0, 255, out=grey)
    return np.rint(grey).astype(np.uint8)


def _average(values: NDArray[np.float32] | NDArray[np.uint8], axis: int, size: int) -> NDArray[np.float32]:
    """Shrink an axis to `size`; pixels on a border between two areas count for both by their shares."""
    if values.shape[axis] == size:
        return values.astype(np.float32, copy=False)
    index, share = _areas(values.shape[axis], size)
    expand = (slice(None), None, None) if axis == 0 else (None, slice(None), None)
    total = np.zeros((*values.shape[:axis], size, *values.shape[axis + 1 :]), np.float32)
    for taps, weights in zip(index, share, strict=True):
        total += values.take(taps, axis) * weights[expand]
    return total


@functools.lru_cache(maxsize=64)
def _areas(many: int, few: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Pixels of each area and their shares, both [pixels of an area, few]."""
    edges = np.arange(few + 1) * (many / few)
    first = np.floor(edges[:-1] + 1e-9).astype(np.intp)
    widest = int(np.ceil(many / few)) + 1
    index = first + np.arange(widest)[:, None]
    share = np.minimum(index + 1, edges[1:]) - np.maximum(index, edges[:-1])
    share = np.clip(share, 0.0, None) * (few / many)
    return np.minimum(index, many - 1), share.astype(np.float32)


def _show(size: tuple[int, ...]) -> str:
    """Width first, as cameras say it."""
    return f"{size[1]}x{size[0]}" if len(size) == 2 else str(list(size))
