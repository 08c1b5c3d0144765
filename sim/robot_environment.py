"""A simulated robot as an in-process environment: the same sensors and encoding as over ROS 2, without ROS 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from robot_dreamer.environment import Step
from robot_dreamer.spec import SpecError, load_spec
from sim.robot import SimRobot
from sim.sensors import Sensors, observe


class RobotEnvironment:
    """See sim.environments.Environment. Episodes end with the spec's max_steps or the task's end.

    Raises:
      SpecError: the robot cannot be simulated, or what it executes is not what the policy asks for: an environment does
        not say what was executed, and a world model must not learn from actions that were not.
    """

    def __init__(self, robot: str, seed: int) -> None:
        self.spec = load_spec(robot)
        for action in self.spec.actions:
            changed = "a filter" if action.filter else "a max_rate" if action.max_rate else ""
            if changed:
                raise SpecError(
                    f"action {action.name!r} has {changed}, which works on board only: train this robot through the "
                    f"split (robot-dreamer train, learner and policy node), not in one process"
                )
        self._robot = SimRobot(self.spec, seed)
        self._steps: int | None = None  # since the reset; None: reset needed

    def reset(self) -> Step:
        self._steps = 0
        return self._row(self._robot.reset())

    def step(self, action: Mapping[str, NDArray[Any]]) -> Step:
        if self._steps is None:
            raise RuntimeError("the episode is over or has not begun: call reset first")
        self._steps += 1
        return self._row(self._robot.step({a.name: a.to_command(action[a.name]) for a in self.spec.actions}))

    def close(self) -> None:
        pass

    def _row(self, sensors: Sensors) -> Step:
        is_first = self._steps == 0
        is_last = sensors.terminal or self._steps == self.spec.episode.max_steps
        if is_last:
            self._steps = None
        return Step(observe(self.spec, sensors), sensors.reward, is_first, is_last, sensors.terminal)
