"""Pictures of cameras to arrays, without cv_bridge: raw 8-bit ones, depth, JPEG and PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.spec import Source

_CHANNELS = {"mono8": 1, "8UC1": 1, "rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4}
_DEPTH = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}  # dtype, and its unit in m (REP 118)
_MOST_PIXELS = 1 << 25  # of a compressed picture; what a few bytes may ask memory for


def read_image(source: Source, message: Any) -> NDArray[Any]:
    """Pixels, C-ordered: uint8 [height, width, 1 or 3] as grey or RGB, a view of the message's bytes where that is
    possible; of a depth camera float32 [height, width, 1] in m, NaN where it measured nothing.
    """
    depth = _DEPTH.get(message.encoding)
    if depth is not None:
        return _read_depth(source, message, *depth)
    channels = _CHANNELS.get(message.encoding)
    if channels is None:
        known = ", ".join([*_CHANNELS, *_DEPTH])
        raise ObservationError(f"topic {source.topic}: expected encoding {known}, found {message.encoding!r}")
    pixels = _rows(source, message, channels).reshape(message.height, message.width, channels)
    if channels == 4:
        pixels = pixels[:, :, :3]
    return np.ascontiguousarray(pixels[:, :, ::-1] if message.encoding.startswith("bgr") else pixels)


def compressed_reader(source: Source) -> Callable[[Any], NDArray[np.uint8]]:
    """Reads pixels of a JPEG or PNG, uint8 [height, width, 1 or 3] as grey or RGB.

    Raises ValueError where the package Pillow is missing.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        text = f"a compressed picture needs Pillow: pip install 'robot_dreamer[compressed]' ({error})"
        raise ValueError(f"topic {source.topic}: {text}") from error
    return partial(_read_compressed, source, Image.open)


def _read_compressed(source: Source, open_picture: Callable[..., Any], message: Any) -> NDArray[np.uint8]:
    if "compressedDepth" in message.format:
        text = f"expected jpeg or png, found {message.format!r}; take the raw topic of this depth camera"
        raise ObservationError(f"topic {source.topic}: {text}")
    with open_picture(io.BytesIO(bytes(message.data)), formats=("JPEG", "PNG")) as picture:
        if picture.width * picture.height > _MOST_PIXELS:
            text = f"expected {_MOST_PIXELS} pixels at most, found {picture.width}x{picture.height}"
            raise ObservationError(f"topic {source.topic}: {text}")
        if picture.mode.startswith(("I", "F")):
            text = f"expected pixels of 8 bits, found mode {picture.mode}; take the raw topic of this camera"
            raise ObservationError(f"topic {source.topic}: {text}")
        grey = picture.mode in ("1", "L", "LA")
        pixels = np.asarray(picture.convert("L" if grey else "RGB"))
    return pixels[..., None] if grey else pixels


def _read_depth(source: Source, message: Any, kind: str, unit: float) -> NDArray[np.float32]:
    order = ">" if message.is_bigendian else "<"
    stored = _rows(source, message, np.dtype(kind).itemsize).view(order + kind)
    metres: NDArray[np.float32] = stored.astype(np.float32)[..., None] * np.float32(unit)
    if kind == "u2":
        metres[metres == 0] = np.nan
    return metres


def _rows(source: Source, message: Any, pixel: int) -> NDArray[np.uint8]:
    """Bytes of a picture whose pixels have `pixel` of them, [height, width * pixel]; rows may be padded."""
    height, width, step = message.height, message.width, message.step
    if step < width * pixel or len(message.data) != height * step:
        found = f"{len(message.data)} bytes, step {step}"
        raise ObservationError(f"topic {source.topic}: expected {width}x{height} {message.encoding}, found {found}")
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)[:, : width * pixel]
    return rows if step == width * pixel else np.ascontiguousarray(rows)
