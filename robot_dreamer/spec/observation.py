"""The part of a RobotSpec that says what observations are made of their sources."""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec.check import require, require_name, require_range
from robot_dreamer.spec.source import DISTANCES, IMAGE, PICTURES, Source
from robot_dreamer.spec.units import disagreement


class Picture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a camera shows, where it is more than the policy sees. The part is shrunk to the observation's shape."""

    size: tuple[int, int]  # height, width
    crop: tuple[int, ...] = ()  # top, left, height, width of the part; default: all of it

    def __post_init__(self) -> None:
        require(all(n > 0 for n in self.size), f"size must be positive, found {list(self.size)}")
        require(len(self.crop) in (0, 4), f"crop needs top, left, height and width, found {list(self.crop)}")
        if self.crop:
            top, left, height, width = self.crop
            inside = min(top, left) >= 0 and min(height, width) > 0
            inside = inside and top + height <= self.size[0] and left + width <= self.size[1]
            require(inside, f"crop {list(self.crop)} must lie within size {list(self.size)}")

    @property
    def part(self) -> tuple[int, int]:
        """Height and width of what remains after the crop."""
        return (self.crop[2], self.crop[3]) if self.crop else self.size


PICTURE_SIDES = tuple(range(48, 257, 16))
"""Heights and widths of pictures that a network takes: it halves them four times, and must have something left."""


class ObservationSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One observation: an array of fixed shape and dtype, read from one source."""

    name: str
    shape: tuple[int, ...]
    source: Source
    dtype: Literal["float32", "uint8"] = "float32"
    unit: str = ""
    # cos_sin: each angle becomes (cos, sin); projected_gravity: an orientation becomes the direction of "down" [3] as
    # the robot feels it, which knows nothing of its heading
    encoding: Literal["raw", "cos_sin", "projected_gravity"] = "raw"
    scale: tuple[float, ...] = ()  # per name: observation = scale * message + offset; default 1
    offset: tuple[float, ...] = ()  # default 0
    # Lowest and highest possible number; rows outside are refused; default: any finite. Of distances: nearest and
    # farthest that count, m; others become the nearest or the farthest. With it an Image shows depth.
    range: tuple[float, ...] = ()
    history: int = 1  # how many ticks' vectors it holds, one behind the other, the newest last
    picture: Picture | None = None  # images: size and part of the camera's picture; default: it has the right shape

    def __post_init__(self) -> None:
        require_name(self.name)
        require(all(n > 0 for n in self.shape), f"shape must be positive, found {list(self.shape)}")
        for label, numbers in (("scale", self.scale), ("offset", self.offset)):
            expected = len(self.source.names)
            text = f"{label} needs {expected} numbers (one per name), found {len(numbers)}"
            require(len(numbers) in (0, expected), text)
            require(all(math.isfinite(x) for x in numbers), f"{label} must be finite")
        require(all(self.scale), "scale must not be 0")
        require_range("range", self.range)
        require(1 <= self.history <= 64, f"history must be 1 to 64 ticks, found {self.history}")
        if self.source.type in PICTURES:
            self._check_picture()
            return
        require(self.picture is None, "picture is for images only")
        require(self.dtype == "float32", "dtype must be float32 for everything but images")
        raw = self.encoding == "raw"
        require(raw or not self.range, "range is for raw numbers only: cosines, sines and directions have theirs")
        if self.source.type in DISTANCES:
            require(raw and bool(self.range), "a distance needs range: [nearest, farthest] in m, and encoding raw")
        if self.encoding == "projected_gravity":
            require(self.source.field == "orientation", "projected_gravity is made of an orientation only")
        problem = disagreement(self.unit, "rad") if self.encoding == "cos_sin" else ""
        require(not problem, f"unit of {self.name}, for encoding cos_sin: {problem}")
        width = len(self.components)
        require(
            self.shape == (width,),
            f"shape must be [{width}] to fit its source, encoding and history, found {list(self.shape)}",
        )

    def _check_picture(self) -> None:
        require(self.dtype == "uint8", "dtype of an image must be uint8")
        require(len(self.shape) == 3 and self.shape[2] in (1, 3), "shape of an image must be [height, width, 1 or 3]")
        require(self.encoding == "raw", "encoding of an image must be raw")
        require(self.history == 1, "history is for vectors only")
        if self.range:
            require(self.source.type == IMAGE, "range is for raw images only: with it they show depth")
            require(self.shape[2] == 1, f"depth has one channel, found {self.shape[2]} in shape")
            require(self.range[0] >= 0, f"range of depth begins at 0 m or farther, found {list(self.range)}")
            problem = disagreement(self.unit, "m")
            require(not problem, f"unit of {self.name}, for depth: {problem}")
        if self.picture is not None:
            smaller = all(few <= many for few, many in zip(self.shape, self.picture.part, strict=False))
            part, shape = list(self.picture.part), list(self.shape[:2])
            require(smaller, f"pictures are only made smaller: {part} cannot become {shape}")

    @property
    def components(self) -> tuple[str, ...]:
        """What each number is called, in the order of the flattened value; empty for pictures."""
        if self.dtype == "uint8":
            return ()
        names = ("x", "y", "z") if self.encoding == "projected_gravity" else self.source.elements
        if self.encoding == "cos_sin":
            names = tuple(f"{function} {name}" for name in names for function in ("cos", "sin"))
        past = tuple(f"{name} t-{k}" for k in range(self.history - 1, 0, -1) for name in names)
        return past + names

    @property
    def reading_shape(self) -> tuple[int, ...]:
        """Of what one tick's message gives; `shape` holds the whole history."""
        return self.shape if self.history == 1 else (self.shape[0] // self.history,)

    @property
    def limits(self) -> tuple[float, ...]:
        """Lowest and highest number that a row may hold; empty: any. A picture of depth has those of its bytes."""
        return self.range if self.dtype == "float32" else ()

    def from_message(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers in the driver's units and the order of `source.names` -> in `unit`."""
        if self.scale:
            numbers = numbers * np.asarray(self.scale)
        return numbers + np.asarray(self.offset) if self.offset else numbers

    def to_message(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `from_message`."""
        if self.offset:
            numbers = numbers - np.asarray(self.offset)
        return numbers / np.asarray(self.scale) if self.scale else numbers
