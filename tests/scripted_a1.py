"""A script for the A1: it rolls over, stands up from any pose, and trots. A search (CMA-ES) found poses and gait.

python -m tests.scripted_a1 docs/a1_rolls_over.png   # the picture of docs/robots.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

STANDING = np.tile([0.0, 0.869, -1.628], 4)
UPRIGHT = 0.7  # cosine of the tilt
_HELD, _WAIT = 14, 16  # ticks of 20 Hz: of each key pose, and of standing before it looks again
_ROLL = (  # hip, thigh, calf of the left legs, and of the right ones; rad
    ((0.146, 3.663, -2.355), (0.154, 3.655, -1.705)),
    ((0.069, 2.027, -2.197), (-0.46, 2.451, -2.663)),
    ((-0.623, 1.886, -1.761), (-0.093, 1.525, -2.617)),
)
_FREQUENCY = 2.27  # Hz, of the trot
_PHASE = np.array([0.5, 0.0, 0.0, 0.5])  # share of a cycle; FR, FL, RR, RL: diagonal legs together
_MIRROR = np.array([-1.0, 1.0, 1.0])


class StandUp:
    """Called with each observation, it gives the joint targets, rad [12], in the order FR, FL, RR, RL."""

    def __init__(self) -> None:
        self._rolls = 0
        self._plan: Iterator[NDArray[np.float64]] = iter(())

    def __call__(self, observation: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        target = next(self._plan, None)
        if target is not None:
            return target
        if observation["down"][2] < -UPRIGHT:
            return STANDING
        self._plan = self._roll(mirrored=self._rolls % 2 == 1)
        self._rolls += 1
        return next(self._plan)

    def _roll(self, mirrored: bool) -> Iterator[NDArray[np.float64]]:
        for left, right in _ROLL:
            sides = (np.array(left), np.array(right))
            left_legs, right_legs = (sides[1] * _MIRROR, sides[0] * _MIRROR) if mirrored else sides
            for _ in range(_HELD):
                yield np.concatenate([right_legs, left_legs, right_legs, left_legs])
        for _ in range(_WAIT):
            yield STANDING


class Walk(StandUp):
    """Once it stands it trots forward: of what these targets ask for, the filter leaves less than half."""

    def __init__(self) -> None:
        super().__init__()
        self._stood = 0  # ticks

    def __call__(self, observation: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        target = super().__call__(observation)
        self._stood = self._stood + 1 if target is STANDING and observation["down"][2] < -UPRIGHT else 0
        begun = self._stood - _WAIT
        if begun < 0:
            return target
        phase = 2 * np.pi * (_FREQUENCY * begun / 20.0 + _PHASE)
        gait = np.zeros((4, 3))
        gait[:, 1] = 0.33 + 1.374 * np.cos(phase)
        gait[:, 2] = np.clip(-2.057 + 1.746 * np.sin(phase + 2.948), -2.057, -1.628)
        return STANDING + min(1.0, begun / 15.0) * (gait.reshape(-1) - STANDING)


def picture(file: str, seed: int = 3, moments: tuple[int, ...] = (12, 26, 42, 80, 130), side: int = 240) -> None:
    """What it looks like at some ticks of an episode, side by side."""
    from PIL import Image

    from sim.gym_robot import GymRobot

    environment, script, seen = GymRobot("a1", render_mode="rgb_array"), Walk(), []
    legs = environment.robot_spec.actions[0]
    shown, _ = environment.reset(seed=seed)
    for tick in range(max(moments) + 1):
        shown, *_ = environment.step(legs.from_command(script(shown)))
        if tick in moments:
            seen.append(np.asarray(Image.fromarray(environment.render()).resize((side, side))))
    Image.fromarray(np.concatenate(seen, 1)).quantize(96).save(file, optimize=True)


if __name__ == "__main__":
    picture(sys.argv[1])
