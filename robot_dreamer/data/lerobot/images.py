"""Pictures of a LeRobotDataset: PNG, which loses nothing, or H.264, which does."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_dreamer.data.errors import DataError

Pixels = NDArray[np.uint8]
_H264 = {"crf": "18", "g": "2", "preset": "medium"}  # a key frame at every other one: readers jump about


def to_png(pixels: Pixels) -> bytes:
    """uint8 [height, width, 1 or 3] as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def from_picture(content: bytes) -> Pixels:
    """The pixels of a PNG or JPEG, uint8 [height, width, 1 or 3]. Raises DataError."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
            pixels = np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))
    except Exception as error:  # whatever a parser of foreign bytes raises
        raise DataError(f"a picture cannot be read: {error or type(error).__name__}") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def write_video(path: Path, frames: list[Pixels], fps: int) -> float:
    """An episode as H.264; returns the mean error of a pixel, of 255, measured on what was written."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=fps, options=_H264)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            colour = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(colour, format="rgb24")))
        container.mux(stream.encode())
    found = read_video(path, 0.0, len(frames), fps, frames[0].shape[-1])
    errors = [np.abs(a.astype(np.int16) - b).mean() for a, b in zip(found, frames, strict=True)]
    return float(np.mean(errors))


def read_video(path: Path, begin: float, count: int, fps: float, channels: int) -> Iterator[Pixels]:
    """`count` frames from second `begin` on, uint8 [height, width, channels]. Raises DataError: broken, or too few."""
    import av

    found = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if begin:
                container.seek(int(begin / stream.time_base), stream=stream)  # to the key frame before it
            for frame in container.decode(stream):
                if frame.time < begin - 0.5 / fps:
                    continue
                if found == count:
                    return
                found += 1
                pixels = frame.to_ndarray(format="rgb24")
                grey = np.rint(pixels.mean(-1, keepdims=True)).astype(np.uint8) if channels == 1 else pixels
                yield grey
    except (av.FFmpegError, IndexError, OSError) as error:
        raise DataError(f"{path} cannot be read as a video: {error}") from error
    if found < count:
        raise DataError(f"{path}: expected {count} frames from second {begin:g} on, found {found}")
