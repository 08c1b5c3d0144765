"""A simulated robot with Gymnasium's interface, for whoever brings a learner of their own."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robot_dreamer.environment import EpisodeBroken
from robot_dreamer.onboard.limits import CommandLimits
from robot_dreamer.onboard.low_pass import CommandLowPass
from robot_dreamer.spec import load_spec
from sim.robot import SimRobot
from sim.sensors import Sensors, observe

Observation = dict[str, NDArray[Any]]
_SIDE = 480  # px, of a picture for people


class GymRobot(gymnasium.Env[Observation, Any]):
    """The robot of a RobotSpec. Observations are a Dict, encoded as on board; the action is normalised: of a robot with
    one action that action alone, otherwise a Dict.

    Commands go through filter, limits and rates as on board; no guard stops an episode. The task's end is terminated,
    `max_steps` is truncated. Each reset sets the world up anew, also of a robot that has no reset service. `info` has
    `drawn` after a reset, how this episode differs from the nominal model, and `command` after a step: what went out.

    Args:
      robot: name of a shipped robot, or a RobotSpec's YAML file.
      render_mode: None, or rgb_array: a picture [480, 480, 3] by the model's first camera.

    Raises:
      SpecError: unknown robot, or one that cannot be simulated.
      EpisodeBroken: the simulation lost itself (step), or an expression of the spec has no value (reset too); reset it.
      gymnasium.error.ResetNeeded: a step before the first reset, behind an episode's end, or in a world that is broken.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}

    def __init__(self, robot: str, render_mode: str | None = None) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be None or rgb_array, found {render_mode!r}")
        self.robot_spec = load_spec(robot)
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": self.robot_spec.rate}
        self._robot = SimRobot(self.robot_spec, seed=0)
        self._limits = CommandLimits(self.robot_spec)
        self._filter = CommandLowPass(self.robot_spec.actions, self.robot_spec.rate)
        self._past = {o.name: deque([], o.history) for o in self.robot_spec.observations}  # type: ignore[var-annotated]
        self._steps: int | None = None  # since the reset; None: reset needed
        self.observation_space: gymnasium.Space[Any] = self.robot_spec.observation_space()
        actions = self.robot_spec.action_space()
        self.action_space = actions if len(actions) > 1 else actions[self.robot_spec.actions[0].name]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode. With a seed, all that follows depends on it and the actions alone."""
        super().reset(seed=seed)
        self._steps = None
        sensors = self._robot.reset(int(self.np_random.integers(2**31)))
        self._limits.start({})
        self._filter.reset(self._limits.last)
        for past in self._past.values():
            past.clear()
        shown, self._steps = self._show(sensors), 0
        return shown, {"drawn": copy.deepcopy(self._robot.drawn)}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if self._steps is None:
            raise gymnasium.error.ResetNeeded("the episode is over or has not begun: call reset first")
        specs = self.robot_spec.actions
        given = action if len(specs) > 1 else {specs[0].name: action}
        wanted = {spec.name: spec.to_command(given[spec.name]) for spec in specs}
        taken, self._steps = self._steps + 1, None  # which it stays where the world breaks
        sensors = self._robot.step(self._limits.apply(self._filter.step(wanted)))
        shown = self._show(sensors)
        truncated = taken >= self.robot_spec.episode.max_steps and not sensors.terminal
        self._steps = None if sensors.terminal or truncated else taken
        info = {"command": dict(self._limits.last)}
        return shown, float(sensors.reward), sensors.terminal, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        return None if self.render_mode is None else self._robot.picture(_SIDE)

    def _show(self, sensors: Sensors) -> Observation:
        """What the policy sees: not what is watched, and with its history. Raises EpisodeBroken."""
        if sensors.fault:
            raise EpisodeBroken("reward", sensors.fault)
        readings, shown = observe(self.robot_spec, sensors), {}
        for name, past in self._past.items():
            past.extend(
                [readings[name]] * (1 if past else past.maxlen or 1)
            )  # before the first reading: that one again
            shown[name] = np.concatenate(past) if past.maxlen != 1 else readings[name]
        return shown
