"""What a Gymnasium environment shows, as observations of a RobotSpec: each entry checked, and copied, on its way in.

uint8 pictures stay pictures: [height, width, 3], grey ones with a channel, channel-first ones turned, RGBA without its
alpha; pictures of floats in [0, 1] become bytes; sizes that no network takes are shrunk. Choices become one-hot,
everything else a flat float32 vector, text is left out. What is changed is told once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robot_dreamer.environment import EpisodeBroken
from robot_dreamer.onboard.pictures import fit_picture
from robot_dreamer.spec import ObservationSpec, Picture, SpecError
from robot_dreamer.spec.observation import PICTURE_SIDES
from sim import synthetic
from sim.gym_entries import Entry

LARGEST_VECTOR = 16_384  # numbers
_SIDE, _LEAST = 64, PICTURE_SIDES[0]  # pixels; of a picture whose own sides no network takes
EXACT = 2**24  # whole numbers up to here are exact in float32
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reader:
    """One observation.

    Attributes:
      spec: its part of the RobotSpec.
      read: what the environment shows, as a whole -> the array, which is ours alone. Raises EpisodeBroken for values
        that no row can hold, ValueError for another layout than the space's.
    """

    spec: ObservationSpec
    read: Callable[[Any], NDArray[Any]]


def readers(entries: Sequence[Entry], environment: str) -> list[Reader]:
    """Readers of all entries that can be observed.

    Raises SpecError that names environment and entry where none is left, or one is too large or of no use.
    """
    found = [reader for entry in entries if (reader := _reader(entry, environment)) is not None]
    if not found:
        labels = ", ".join(f"{entry.label} ({type(entry.space).__name__})" for entry in entries) or "nothing"
        raise SpecError(f"gym environment {environment!r}: nothing of its observation can be learned from: {labels}")
    return found


def _reader(entry: Entry, environment: str) -> Reader | None:
    space, where = entry.space, f"gym environment {environment!r}, observation {entry.label!r}"
    if space.dtype is not None and space.dtype.kind == "U":
        _log.info("%s is text and is left out", where)
        return None
    if isinstance(space, spaces.Discrete):
        return _choices(entry, where, np.array([int(space.n)]), np.array([int(space.start)]))
    if isinstance(space, spaces.MultiDiscrete):
        return _choices(entry, where, space.nvec.reshape(-1), space.start.reshape(-1))
    if not isinstance(space, spaces.Box | spaces.MultiBinary):
        raise SpecError(f"{where}: spaces of type {type(space).__name__} are not supported")
    if not math.prod(space.shape):
        _log.info("%s has no numbers and is left out", where)
        return None
    if isinstance(space, spaces.Box) and (reader := _picture(entry, space, where)) is not None:
        return reader
    size = math.prod(space.shape)
    _require_small(where, size)

    def read(shown: Any) -> NDArray[np.float32]:
        return _numbers(_value(entry, where, shown, space.shape), where).reshape(-1)

    return Reader(synthetic.vector(entry.name, size), read)


def _require_small(where: str, size: int) -> None:
    if size > LARGEST_VECTOR:
        raise SpecError(
            f"{where} would become a vector of {size} numbers, at most {LARGEST_VECTOR} can be learned from; wrap the "
            "environment so that it shows less, or shows it as a picture (uint8, height x width x 3)"
        )


def _value(entry: Entry, where: str, shown: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """A copy of what is shown. Raises ValueError unless it is of numbers in the space's shape."""
    try:
        value = np.array(entry.get(shown))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected an array of shape {list(shape)}, found {error!r}") from error
    if value.shape != shape or value.dtype.kind not in "biuf":
        raise ValueError(f"{where}: expected numbers of shape {list(shape)}, found {value.dtype}{list(value.shape)}")
    return value


_inexact: set[str] = set()


def _numbers(value: NDArray[Any], where: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        array = value.astype(np.float32)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        place = f"[{', '.join(map(str, at))}]" if at else ""
        raise EpisodeBroken("not_finite", f"{where}{place}: expected a number that float32 can hold, found {value[at]}")
    if value.dtype.kind in "iu" and where not in _inexact and (np.abs(value.astype(np.float64)) > EXACT).any():
        _inexact.add(where)
        _log.warning("%s shows whole numbers above %d, which float32 rounds: neighbours become one", where, EXACT)
    return array


def _choices(entry: Entry, where: str, classes: NDArray[Any], start: NDArray[Any]) -> Reader:
    """Choices side by side, each one-hot."""
    size = int(classes.sum())
    _require_small(where, size)
    offsets = np.concatenate([[0], np.cumsum(classes)[:-1]])
    shape: tuple[int, ...] = entry.space.shape or ()

    def read(shown: Any) -> NDArray[np.float32]:
        value = _value(entry, where, shown, shape).reshape(-1)
        chosen = value.astype(np.int64) - start
        if (chosen != value - start).any() or (chosen < 0).any() or (chosen >= classes).any():
            last = (start + classes - 1).tolist()
            raise ValueError(f"{where}: expected whole numbers from {start.tolist()} to {last}, found {value.tolist()}")
        encoded = np.zeros(size, np.float32)
        encoded[chosen + offsets] = 1.0
        return encoded

    return Reader(synthetic.vector(entry.name, size), read)


def _picture(entry: Entry, space: spaces.Box, where: str) -> Reader | None:
    """A reader of a picture; None if the space is none, or one that is too small for a picture's network."""
    shape, whole = space.shape, space.dtype == np.uint8
    bounded = bool(np.all(space.low == 0) and np.all((space.high == 1) | (space.high == 255)))
    unit = not whole and bool(np.all(space.high == 1))
    if len(shape) not in (2, 3) or not (whole or (bounded and np.issubdtype(space.dtype, np.floating))):
        return None
    channel = next((i for i in (2, 0) if len(shape) == 3 and shape[i] in (1, 3, 4)), None)
    if len(shape) == 3 and channel is None:
        return None
    height, width = shape if len(shape) == 2 else tuple(n for i, n in enumerate(shape) if i != channel)
    sides = height, width
    if min(sides) < PICTURE_SIDES[0]:
        return None  # a board, a map: its numbers are what counts
    if channel == 0 and shape[0] == 4:
        raise SpecError(
            f"{where} is {list(shape)}: four pictures one after the other, or RGBA with the channel first? Show the "
            "newest picture alone (the policy has a memory), or the channels last"
        )
    shown_as = (
        sides if all(side in PICTURE_SIDES for side in sides) else (_SIDE if min(sides) >= _SIDE else _LEAST,) * 2
    )
    steps = [text for text, done in (
        ("gets a channel", len(shape) == 2), ("is turned to channel last", channel == 0),
        ("loses its alpha", channel is not None and shape[channel] == 4), ("is scaled from [0, 1] to bytes", unit),
        (f"is shrunk to {shown_as[0]} x {shown_as[1]}", shown_as != sides),
    ) if done]  # fmt: skip
    if steps:
        _log.info("%s, %s%s, %s", where, space.dtype, list(shape), " and ".join(steps))

    def read(shown: Any) -> NDArray[np.uint8]:
        value = _value(entry, where, shown, shape)
        pixels = _bytes(_channels_last(value, channel), where, unit)
        return fit_picture(pixels, size, Picture(sides)) if shown_as != sides else pixels

    size = (shown_as[0], shown_as[1], 1 if channel is None else min(3, shape[channel]))
    return Reader(synthetic.picture(entry.name, size), read)


def _channels_last(value: NDArray[Any], channel: int | None) -> NDArray[Any]:
    if channel is None:
        return value[:, :, None]
    turned = np.moveaxis(value, channel, 2)
    return np.ascontiguousarray(turned[:, :, :3] if turned.shape[2] == 4 else turned)


def _bytes(value: NDArray[Any], where: str, unit: bool) -> NDArray[np.uint8]:
    if value.dtype == np.uint8:
        return value
    scaled = value * 255.0 if unit else value
    low, high = float(value.min()), float(value.max())
    if not np.isfinite(value).all():
        raise EpisodeBroken("not_finite", f"{where}: expected finite numbers, found some that are not")
    if scaled.min() < 0 or scaled.max() > 255:
        bounds = "[0, 1]" if unit else "[0, 255]"
        raise ValueError(f"{where}: expected a picture in {bounds}, found {value.dtype} from {low:g} to {high:g}")
    rounded = np.rint(scaled)
    if not unit and (rounded != scaled).any():
        raise ValueError(
            f"{where}: expected whole numbers from 0 to 255, found {value.dtype} from {low:g} to {high:g}; a picture "
            "in [0, 1] needs a space that says so"
        )
    return rounded.astype(np.uint8)
