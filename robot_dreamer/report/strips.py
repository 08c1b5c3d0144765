"""Dreams of a camera as a strip of pictures: truth, reconstruction, dream, and what is wrong with it."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robot_dreamer.record import Arrays
from robot_dreamer.report.blocks import Strip

COLUMNS = 10
_GAP = 2  # pixels between two pictures


def dream_strip(portrait: Arrays, name: str, window: int = 0, title: str = "") -> Strip:
    """The strip of one camera, NAME of the portrait, in one window."""
    picture, rows = strip_pixels(portrait, name, window)
    context, dreamed = int(portrait["context"]), rows_dreamed(portrait, window)
    columns = [f"{t - context + 1:+d}" if t >= context else f"seen {t - context + 1}" for t in rows]
    ended = ", after which the episode ended" if dreamed < int(portrait["horizon"]) else ""
    caption = (
        f"Column: rows from the last one that the dream was shown. From +1 on the dream knows only the {dreamed} "
        f"actions that were executed{ended}. Difference: twice the distance to the truth; black is right."
    )
    labels = ["truth", "reconstruction", "dream", "difference"]
    title = title or f"{name}: what happened, what was seen, what was dreamed"
    return Strip(title, png(picture), labels, columns, caption)


def rows_dreamed(portrait: Arrays, window: int) -> int:
    """Of a window, before its next episode began, which no dream can know; one of an older version does not say."""
    return int(portrait["lasted"][window]) if "lasted" in portrait else int(portrait["horizon"])


def cameras(portrait: Arrays) -> list[str]:
    """Names of the observations of a portrait that are pictures."""
    found = sorted(key.removeprefix("truth/") for key in portrait if key.startswith("truth/"))
    return [
        name for name in found if portrait[f"truth/{name}"].dtype == np.uint8 and portrait[f"truth/{name}"].ndim == 5
    ]


def strip_pixels(portrait: Arrays, name: str, window: int = 0) -> tuple[NDArray[np.uint8], list[int]]:
    """Truth, reconstruction, dream and difference below each other (height, width, channels), and which rows of the
    window they show."""
    truth, seen, dreamt = (portrait[f"{kind}/{name}"] for kind in ("truth", "seen", "dreamt"))
    context, dreamed = int(portrait["context"]), rows_dreamed(portrait, window)
    before = [max(0, context - 3), context - 1]
    ahead = np.unique(np.geomspace(1, max(1, dreamed), COLUMNS - len(before)).round().astype(int))[:dreamed]
    rows = [*before, *(int(t) for t in context - 1 + ahead)]
    dream = [*seen[window, before], *dreamt[0, window, ahead - 1]]
    distances = [np.abs(a.astype(int) - b.astype(int)) for a, b in zip(truth[window, rows], dream, strict=True)]
    wrong = [np.clip(2 * x, 0, 255).astype(np.uint8) for x in distances]
    strips = [list(truth[window, rows]), list(seen[window, rows]), dream, wrong]
    return np.concatenate([_row(strip) for strip in strips]), rows


def png(picture: NDArray[np.uint8]) -> str:
    """(height, width, 1 or 3) -> data: URI."""
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _row(pictures: list[NDArray[Any]]) -> NDArray[np.uint8]:
    """Pictures beside each other, with a gap around each."""
    framed = [np.pad(p, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=128) for p in pictures]
    return np.concatenate(framed, 1)
