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
from sim.sensors import Sensors, observe

Watch = Callable[[Sample, Controller], object]

_log = logging.getLogger(__name__)
_RESETS = 10  # in a row that may end the task at once


@dataclass(frozen=True)
class Episode:
    """What an episode came to.

    Attributes:
      score: its return.
      length: in actions.
      lost: the simulation lost itself; score and length are what they were by then.
      drawn: how it differed from the nominal model; see `sim.gap`.
      terminal: the task ended for good, or the robot harmed itself.
      faults: what stopped it on board, by the guard's rule or the kind of a refused sample.
      limited: commands that the guard clipped or slewed.
    """

    score: float
    length: int
    lost: bool = False
    drawn: dict[str, Any] = field(default_factory=dict)
    terminal: bool = False
    faults: dict[str, int] = field(default_factory=dict)
    limited: int = 0


class EpisodeStopped(RuntimeError):
    """The guard stopped an episode, or a sample was refused.

    Attributes:
      episode: what it had come to.
    """

    def __init__(self, text: str, episode: Episode) -> None:
        super().__init__(text)
        self.episode = episode


def begin_episode(robot: SimRobot, seed: int) -> Sensors:
    """What is seen after the reset. Where the task is over at once another follows, as a policy node asks for it.

    Raises:
      EpisodeStopped: it always is.
    """
    sensors = robot.reset(seed)
    for _ in range(_RESETS):
        if not sensors.terminal:
            return sensors
        sensors = robot.reset()
    text = f"episode with seed {seed} stopped: the task was over at its reset, {_RESETS} times in a row"
    raise EpisodeStopped(text, Episode(0.0, 0, terminal=True))


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
      EpisodeStopped: the guard stopped the episode.
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
    sensors, total, length = begin_episode(robot, seed), 0.0, 0

    def come_to(score: float, length: int, **how: Any) -> Episode:
        guard = controller.guard
        faults: dict[str, int] = {str(rule): count for rule, count in guard.faults.items()}
        faults |= controller.refused
        limited = guard.limits.clipped + guard.limits.slewed
        return Episode(score, length, drawn=robot.drawn, faults=faults, limited=limited, **how)

    while most is None or length < most:
        sample = Sample(observe(spec, sensors), sensors.reward, sensors.terminal, sensors.stamp)
        decision = controller.tick(sample)
        watch(sample, controller)
        if decision.fault is not None and decision.fault.terminal and controller.episodes:
            # a fall ends it, as on the robot
            return come_to(controller.last_return, controller.last_length, terminal=True)
        if decision.fault or decision.refused:
            text = f"episode with seed {seed} stopped: {decision.fault or decision.refused}"
            raise EpisodeStopped(text, come_to(total, length))
        if decision.command is None:
            return come_to(controller.last_return, controller.last_length, terminal=sensors.terminal)
        controller.applied(sensors.stamp)
        try:
            sensors = robot.step(decision.command)
        except EpisodeBroken as error:
            _log.warning("episode with seed %d failed after %d actions: %s", seed, length, error)
            return come_to(total, length, lost=True)
        total, length = total + sensors.reward, length + 1
    return come_to(total, length)
