"""Velocities that somebody asks of the robot, drawn anew every few seconds: what a person or a planner would send."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import RobotSpec, SpecError
from robot_dreamer.spec.source import TWIST_STAMPED
from sim.beginnings import drawn
from sim.simulation import MOST_DELAY, Simulation, VelocityCommand

_STREAM = 2  # of the seed; the world's own randomness has the seed itself
_KEPT = 2 * MOST_DELAY + 1.0  # s; late sensors look back by delay and jitter, and a physics step of rounding


@dataclass(frozen=True, slots=True)
class TwistReading:
    """What a TwistStamped topic shows: m/s and rad/s, each [3]."""

    linear: NDArray[np.float64]
    angular: NDArray[np.float64]


class VelocityCommands:
    """The topics of `simulation.velocity_commands`. Draws depend on the seed and the number of the episode alone.

    Raises:
      SpecError: the spec reads a TwistStamped topic on which nothing is sent here.
    """

    def __init__(self, spec: RobotSpec, simulation: Simulation, seed: int) -> None:
        topics = sorted({o.source.topic for o in spec.quantities if o.source.type == TWIST_STAMPED})
        for topic in topics:
            if topic not in simulation.velocity_commands:
                raise SpecError(f"velocity {topic!r}: simulation.velocity_commands must say what is sent there")
        self._commands = {topic: simulation.velocity_commands[topic] for topic in topics}
        still = TwistReading(np.zeros(3), np.zeros(3))
        self._asked = {topic: deque([(-math.inf, still)]) for topic in topics}  # since which time, s; what
        self._left = dict.fromkeys(topics, 0.0)  # seconds until another one is drawn
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Make the following episodes depend on this seed alone."""
        self._seeds = np.random.default_rng([seed, _STREAM])

    def begin(self) -> None:
        """An episode begins."""
        self._generator = np.random.default_rng(self._seeds.integers(2**63))
        for topic, command in self._commands.items():
            self._asked[topic].clear()
            self._draw(topic, command, -math.inf)

    def advance(self, seconds: float, now: float) -> None:
        """Time has passed; now: the world's time, s."""
        for topic, command in self._commands.items():
            self._left[topic] -= seconds
            if self._left[topic] <= 0:
                self._draw(topic, command, now)

    def read(self, time: float) -> dict[str, TwistReading]:
        """What is asked at a time of this episode's world, s, by topic. It may be past: late sensors see it late."""
        return {t: next(x for since, x in reversed(asked) if since <= time) for t, asked in self._asked.items()}

    def _draw(self, topic: str, command: VelocityCommand, now: float) -> None:
        forward, sideways, turn = (drawn(x, self._generator) for x in (command.x, command.y, command.turn))
        asked = self._asked[topic]
        asked.append((now, TwistReading(np.array([forward, sideways, 0.0]), np.array([0.0, 0.0, turn]))))
        while len(asked) > 1 and asked[1][0] <= now - _KEPT:
            asked.popleft()
        self._left[topic] = drawn(command.every, self._generator)
