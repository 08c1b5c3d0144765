"""A simulated robot as an in-process environment: the same sensors and encoding as over ROS 2, without ROS 2."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.environment import EpisodeBroken, TimeStep
from robot_dreamer.onboard.limits import CommandLimits
from robot_dreamer.spec import load_spec
from sim.gap import drawn_once
from sim.robot import SimRobot
from sim.sensors import Sensors, observe

_log = logging.getLogger(__name__)


class RobotEnvironment:
    """See robot_dreamer.environment.Environment. Episodes end with the spec's max_steps or the task's end.

    It obeys commands as a driver does: an action's filter and max_rate are the controller's business. A robot without a
    reset service goes on where its last episode ended, after one period of the way to the neutral command, as the
    policy node sends it; only a world that has ended for good or lost itself is set up anew.

    Raises:
      SpecError: the robot cannot be simulated.
    """

    def __init__(self, robot: str, seed: int) -> None:
        self.spec = load_spec(robot)
        self._robot = SimRobot(self.spec, seed)
        if same := drawn_once(self.spec):
            _log.warning(same)
        self._limits = CommandLimits(self.spec)
        self._goes_on = False  # the next episode begins where the last one ended
        self._steps: int | None = None  # since the reset; None: reset needed

    def reset(self) -> TimeStep:
        if self._goes_on:
            sensors = replace(self._advance(self._limits.toward_neutral(gently=True)), reward=0.0)
        else:
            sensors = self._robot.reset()
            self._limits.start({})
        self._goes_on = not self.spec.episode.reset_service
        self._steps = 0
        drawn = {} if self._goes_on else self._robot.drawn_at_reset  # as the reset service says it
        return replace(self._show(sensors), drawn=drawn)

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> TimeStep:
        if self._steps is None:
            raise RuntimeError("the episode is over or has not begun: call reset first")
        self._steps += 1
        self._limits.start(commands)
        return self._show(self._advance(commands))

    def close(self) -> None:
        """Nothing is open."""

    def _advance(self, commands: Mapping[str, NDArray[np.float64]]) -> Sensors:
        try:
            return self._robot.step(commands)
        except EpisodeBroken:
            self._steps, self._goes_on = None, False
            raise

    def _show(self, sensors: Sensors) -> TimeStep:
        is_last = sensors.terminal or self._steps == self.spec.episode.max_steps
        if is_last:
            self._steps = None
            self._goes_on = self._goes_on and not sensors.terminal
        if sensors.fault:
            self._steps = None
            raise EpisodeBroken("reward", sensors.fault)
        return TimeStep(observe(self.spec, sensors), sensors.reward, is_last, sensors.terminal)
