"""Atari games (package ale-py) in-process, prepared as for the Atari 100k scores of DreamerV3.

64x64 colour pictures, the larger of the last two frames per pixel; only the actions that the game knows; up to 30
frames without action at the start; no sticky actions; rewards as the game gives them; lives do not matter; at most
108000 frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.environment import TimeStep
from robot_dreamer.spec import SpecError
from sim import synthetic

_SIDE = 64
_NO_OPS = 30
_FRAMES = 108_000  # half an hour
_RATE = 60.0  # frames per second


class AtariEnvironment:
    """See sim.environments.Environment. Terminal is the game's own end; the limit of frames is not."""

    def __init__(self, game: str, seed: int, action_repeat: int) -> None:
        try:
            from ale_py import ALEInterface, LoggerMode, roms
        except ImportError as error:
            raise SpecError(f'atari games need ale-py: pip install "robot_dreamer[atari]" ({error})') from error
        program = roms.get_rom_path(game) if game in roms.get_all_rom_ids() else None
        if program is None:
            raise SpecError(f"unknown atari game {game!r}; known: {', '.join(sorted(roms.get_all_rom_ids()))}")
        ALEInterface.setLoggerMode(LoggerMode.Error)
        self._game = ALEInterface()
        self._game.setInt("random_seed", seed)
        self._game.setFloat("repeat_action_probability", 0.0)
        self._game.loadROM(program)
        self._actions = self._game.getMinimalActionSet()
        self._random = np.random.default_rng(seed)
        self._repeat, self._running, self._frames = action_repeat, False, 0
        picture = synthetic.picture("image", (_SIDE, _SIDE, 3))
        action = synthetic.discrete("action", len(self._actions))
        steps = math.ceil(_FRAMES / action_repeat)
        self.spec = synthetic.make_spec(f"atari_{game}", _RATE / action_repeat, [picture], [action], steps)

    def reset(self) -> TimeStep:
        self._game.reset_game()
        for _ in range(self._random.integers(_NO_OPS + 1)):
            self._game.act(0)
            if self._game.game_over():
                self._game.reset_game()
        self._running, self._frames = True, 0
        screen = self._game.getScreenRGB()
        return TimeStep(_picture(screen, screen), 0.0, is_last=False, is_terminal=False)

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> TimeStep:
        if not self._running:
            raise RuntimeError("the episode is over or has not begun: call reset first")
        taken = self._actions[int(commands["action"][0])]
        reward, before = 0.0, self._game.getScreenRGB()
        screen, terminal = before, False
        for _ in range(self._repeat):
            reward += self._game.act(taken)
            self._frames += 1
            before, screen = screen, self._game.getScreenRGB()
            terminal = bool(self._game.game_over())
            if terminal or self._frames >= _FRAMES:
                self._running = False
                break
        return TimeStep(_picture(before, screen), float(reward), not self._running, terminal)

    def close(self) -> None:
        """Nothing is open."""


def _picture(before: NDArray[np.uint8], screen: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    from PIL import Image

    largest = Image.fromarray(np.maximum(before, screen))  # sprites that are drawn in every second frame only
    return {"image": np.asarray(largest.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))}
