"""An episode of a simulated robot through the onboard controller, in one process: for evaluation, films and a look."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from robot_dreamer.environment import EpisodeBroken
from robot_dreamer.onboard.controller import Controller, Sample
from robot_dreamer.onboard.policy import ActingPolicy
from robot_dreamer.onboard.slot import PolicySlot
from sim.robot import SimRobot
from sim.sensors import observe

Watch = Callable[[Sample, Controller], object]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Episode:
    """What an episode came to.

    Attributes:
      score: its return.
      length: in actions.
      lost: the simulation lost itself; score and length are what they were by then.
      drawn: how it differed from the nominal model; see `sim.gap`.
    """

    score: float
    length: int
    lost: bool = False
    drawn: dict[str, Any] = field(default_factory=dict)


def run_episode(
    robot: SimRobot,
    policy: ActingPolicy,
    seed: int,
    deterministic: bool,
    watch: Watch = lambda *_: None,
    most: int | None = None,
) -> Episode:
    """Run an episode that depends on its seed alone.

    Args:
      seed: of the world and of the policy's noise.
      deterministic: no action noise.
      watch: called at each control tick, after the policy's step.
      most: actions after which it is cut; None: at its end.

    Raises:
      RuntimeError: the guard stopped the episode.
    """
    spec = robot.spec
    controller = Controller(
        spec,
        PolicySlot(spec, policy),
        robot="evaluation",
        boot=str(seed),
        record=None,
        deterministic=deterministic,
        seed=seed,
    )
    sensors, total, length = robot.reset(seed), 0.0, 0
    while most is None or length < most:
        sample = Sample(observe(spec, sensors), sensors.reward, sensors.terminal, sensors.stamp)
        decision = controller.tick(sample)
        watch(sample, controller)
        if decision.fault is not None and decision.fault.terminal and controller.episodes:
            return Episode(
                controller.last_return, controller.last_length, drawn=robot.drawn
            )  # a fall ends it, as on the robot
        if decision.fault or decision.refused:
            raise RuntimeError(f"episode with seed {seed} stopped: {decision.fault or decision.refused}")
        if decision.command is None:
            return Episode(controller.last_return, controller.last_length, drawn=robot.drawn)
        controller.applied(sensors.stamp)
        try:
            sensors = robot.step(decision.command)
        except EpisodeBroken as error:
            _log.warning("episode with seed %d failed after %d actions: %s", seed, length, error)
            return Episode(total, length, True, robot.drawn)
        total, length = total + sensors.reward, length + 1
    return Episode(total, length, drawn=robot.drawn)
