"""A film of an episode: the simulated robot, beside it what its policy sees, below how surprised and hopeful it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from robot_dreamer.onboard.controller import Controller
from robot_dreamer.onboard.policy import ActingPolicy
from robot_dreamer.onboard.session import RecurrentState
from robot_dreamer.record import Arrays
from robot_dreamer.spec import RobotSpec
from sim.episode import Watch
from sim.robot import SimRobot

SIDE = 384  # pixels of the robot's picture
WIDTH, HEIGHT = 640, 512  # of the film; multiples of 16, as codecs like them
SECONDS = 6.0  # that a trace looks back
EYE = 116  # pixels of the longer side of a picture that the policy sees; fewer where it sees many
_BAR, _LINE, _GAP = 28, 14, 6  # pixels: height of a number with its bars, of a line of text, between two pictures
_LEAST = 4 * _BAR  # pixels that pictures leave for numbers
_PAPER, _INK, _SOFT = (20, 24, 29), (230, 234, 239), (120, 130, 142)
_TRUTH, _SEEN = (86, 180, 233), (230, 159, 0)  # as on the page about a run (Okabe and Ito 2008)

Reconstruct = Callable[[RecurrentState], Arrays]


class Film:
    """Writes an MP4, one picture for each control tick; use as a context manager.

    Args:
      path: to write.
      reconstruct: policy state -> observation by name; without it only what was observed is shown.

    Raises ValueError if `imageio` and its ffmpeg are not installed, or the file cannot be written.
    """

    def __init__(self, path: Path, spec: RobotSpec, reconstruct: Reconstruct | None = None) -> None:
        try:
            import imageio.v2 as imageio
            import imageio_ffmpeg  # noqa: F401  (found by imageio at the first picture, too late for a clear word)
        except ImportError as error:
            raise ValueError(
                f"a film needs imageio with ffmpeg: pip install 'robot_dreamer[film]' ({error})"
            ) from error
        if not path.parent.is_dir():
            raise ValueError(f"{path}: expected a file in a folder that exists")
        self._spec, self._reconstruct = spec, reconstruct
        self._writer = imageio.get_writer(str(path), format="FFMPEG", fps=spec.rate, macro_block_size=1)
        self._traces: dict[str, list[float]] = {"value": [], "surprise": [], "reward": []}
        self._spans: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
        self._font = ImageFont.load_default()

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def watch(self, robot: SimRobot, policy: ActingPolicy) -> Watch:
        """What adds each tick of an episode; see `sim.episode`."""
        return lambda sample, controller: self.add(robot.picture(SIDE), sample.observation, controller, policy)

    def add(
        self, picture: NDArray[np.uint8], observation: Arrays, controller: Controller, policy: ActingPolicy
    ) -> None:
        """One tick: the robot's picture (SIDE, SIDE, 3), what was observed, and who acted on it."""
        output = controller.output
        for name, values in self._traces.items():
            values.append(math.nan if output is None else getattr(output, name))
        seen = self._reconstruct(policy.state) if self._reconstruct is not None and policy.state else {}
        self._writer.append_data(np.asarray(self._frame(picture, observation, seen)))

    def _frame(self, picture: NDArray[np.uint8], observation: Arrays, seen: Arrays) -> Image.Image:
        frame = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
        frame.paste(Image.fromarray(picture), (0, 0))
        draw = ImageDraw.Draw(frame)
        x, y = SIDE + 8, 4
        draw.text((x, y), "observed", _TRUTH, self._font)
        if seen:
            draw.text((x + 124, y), "reconstructed", _SEEN, self._font)
        y += 16
        pictures = {name: value for name, value in observation.items() if value.dtype == np.uint8 and value.ndim == 3}
        side = min(EYE, (SIDE - y - _LEAST) // max(1, len(pictures)) - _GAP)
        for name, value in pictures.items():
            for place, shown in ((x, value), (x + 124, seen.get(name))):
                if shown is not None:
                    frame.paste(_enlarged(shown, side), (place, y))
            y += side + _GAP
        numbers = {name: np.asarray(v, float).ravel() for name, v in observation.items() if name not in pictures}
        self._bars(draw, x, y, numbers, seen)
        for i, (name, values) in enumerate(self._traces.items()):
            self._trace(draw, name, values, SIDE + 4 + i * 42)
        return frame

    def _bars(self, draw: ImageDraw.ImageDraw, x: int, y: int, numbers: Arrays, seen: Arrays) -> None:
        """As many numbers as have room, each between the lowest and the highest that the film has shown so far."""
        for name, now in numbers.items():
            low, high = self._spans.get(name, (now, now))
            self._spans[name] = np.minimum(low, now), np.maximum(high, now)
        places = [(name, i) for name, now in numbers.items() for i in range(len(now))]
        room = (SIDE - y) // _BAR if len(places) * _BAR <= SIDE - y else (SIDE - y - _LINE) // _BAR
        for name, i in places[:room]:
            now, (low, high) = numbers[name], self._spans[name]
            label = name if len(now) == 1 else f"{name}[{i}]"
            draw.text((x, y), f"{label[:22]} {now[i]:.2f}", _INK, self._font)
            span = high[i] - low[i] or 1.0
            # of a history that is reconstructed the newest tick, which is the last
            guess = np.asarray(seen[name], float).ravel()[i - len(now)] if name in seen else None
            for level, number, colour in ((y + 13, now[i], _TRUTH), (y + 19, guess, _SEEN)):
                if number is not None:
                    share = min(1.0, max(0.0, (number - low[i]) / span))
                    draw.rectangle((x, level, x + 1 + share * 236, level + 4), fill=colour)
            y += _BAR
        if len(places) > room:
            draw.text((x, y), f"and {len(places) - room} more", _SOFT, self._font)

    def _trace(self, draw: ImageDraw.ImageDraw, name: str, values: list[float], top: int) -> None:
        rows = max(2, round(SECONDS * self._spec.rate))
        shown, known = values[-rows:], [v for v in values if math.isfinite(v)]
        text = f"{name} {values[-1]:.3g}" if math.isfinite(values[-1]) else f"{name}: this policy says none"
        draw.text((8, top), text, _INK if known else _SOFT, self._font)
        if not known:
            return
        low, span = min(known), (max(known) - min(known)) or 1.0
        left, width, height = 130, WIDTH - 140, 34
        points = [
            (left + width * i / (rows - 1), top + height - height * (v - low) / span)
            for i, v in enumerate(shown)
            if math.isfinite(v)
        ]
        if len(points) > 1:
            draw.line(points, _SEEN if name == "surprise" else _TRUTH, 2)


def _enlarged(picture: NDArray[np.uint8], side: int) -> Image.Image:
    """The longer side becomes `side`; what is round stays round."""
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).convert("RGB")
    scale = side / max(image.size)
    size = max(1, round(scale * image.width)), max(1, round(scale * image.height))
    return image.resize(size, Image.Resampling.NEAREST)
