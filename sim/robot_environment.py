"""A simulated robot as an in-process environment: the same sensors and encoding as over ROS 2, without ROS 2."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.environment import EpisodeBroken, TimeStep
from robot_dreamer.spec import load_spec
from sim.robot import SimRobot
from sim.sensors import Sensors, observe


class RobotEnvironment:
    """See robot_dreamer.environment.Environment. Episodes end with the spec's max_steps or the task's end.

    It obeys commands as a driver does: an action's filter and max_rate are the controller's business.

    Raises:
      SpecError: the robot cannot be simulated.
    """

    def __init__(self, robot: str, seed: int) -> None:
        self.spec = load_spec(robot)
        self._robot = SimRobot(self.spec, seed)
        self._steps: int | None = None  # since the reset; None: reset needed

    def reset(self) -> TimeStep:
        sensors = self._robot.reset()
        self._steps = 0
        return self._show(sensors)

    def step(self, commands: Mapping[str, NDArray[np.float64]]) -> TimeStep:
        if self._steps is None:
            raise RuntimeError("the episode is over or has not begun: call reset first")
        self._steps += 1
        try:
            return self._show(self._robot.step(commands))
        except EpisodeBroken:
            self._steps = None
            raise

    def close(self) -> None:
        """Nothing is open."""

    def _show(self, sensors: Sensors) -> TimeStep:
        is_last = sensors.terminal or self._steps == self.spec.episode.max_steps
        if is_last:
            self._steps = None
        return TimeStep(observe(self.spec, sensors), sensors.reward, is_last, sensors.terminal)
