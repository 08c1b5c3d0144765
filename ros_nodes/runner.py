"""What drives a controller by the robot's messages, in real time or in lockstep: the common part."""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

from rclpy.impl.rcutils_logger import RcutilsLogger

from robot_dreamer.onboard.controller import Controller, Decision
from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.onboard.limits import Commands
from robot_dreamer.onboard.observer import Observer
from robot_dreamer.onboard.states import DriveState, StateMachine
from robot_dreamer.record import Arrays
from robot_dreamer.spec import RobotSpec
from ros_nodes.commander import Commander
from ros_nodes.heartbeat import Heartbeat
from ros_nodes.phase import Phase
from ros_nodes.reset import Resetter
from ros_nodes.takeover import TakeOver

_PATIENCE = 2.0  # seconds without a listener before saying so
_LOOK = 0.05  # seconds between two looks within a long period


@dataclass(frozen=True, slots=True)
class LoopParts:
    """All that a runner drives."""

    spec: RobotSpec
    observer: Observer
    controller: Controller
    states: StateMachine
    commander: Commander
    resetter: Resetter
    takeover: TakeOver
    heartbeat: Heartbeat
    logger: RcutilsLogger


class Runner(ABC):
    """Common part of Realtime and Lockstep.

    Attributes:
      ticks, misses: of the control loop; in lockstep nothing is ever missed.
      repeats: commands sent again; none in real time.
      failure: why it can go on no longer; empty while it can.
      phase: what it is waiting for, or doing.
    """

    repeats = 0

    def __init__(self, parts: LoopParts) -> None:
        self.failure = ""
        self.phase = Phase.IDLE
        self._heard_at = time.monotonic()
        self._hangs = False
        self._parts = parts
        self._observer = parts.observer
        self._controller = parts.controller
        self._guard = parts.controller.guard
        self._states = parts.states
        self._commander = parts.commander
        self._resetter = parts.resetter

    @property
    @abstractmethod
    def ticks(self) -> int:
        """See the class."""

    @property
    @abstractmethod
    def misses(self) -> int:
        """See the class."""

    @property
    @abstractmethod
    def overdue(self) -> float:
        """Seconds since the next tick ought to have begun; 0 where ticks wait for the world."""

    @abstractmethod
    def start(self) -> None:
        """Begin to tick."""

    @abstractmethod
    def stop(self) -> None:
        """Tick no more; cut the episode and lead a robot that is driven to the safe pose."""

    @abstractmethod
    def received(self, topic: str) -> None:
        """The observer got a message."""

    def waiting_for(self) -> str:
        """What it has been waiting for, too long to be silent about; empty if nothing."""
        deaf = self.unheard()
        if deaf and time.monotonic() - self._heard_at > _PATIENCE:
            return f"nobody listens to {', '.join(deaf)}"
        return self._waiting_for()

    @abstractmethod
    def _waiting_for(self) -> str:
        """See `waiting_for`, when somebody listens."""

    def unheard(self) -> list[str]:
        """Topics of commands, and of a heartbeat that is required, that nobody gets."""
        return [*self._commander.unheard(), *self._parts.heartbeat.unheard()]

    def _heard(self) -> bool:
        deaf = self.unheard()
        if not deaf:
            self._heard_at = time.monotonic()
        return not deaf

    def _step(self) -> DriveState:
        """The state of this tick, by who gets the commands now."""
        heard = self._heard()
        return self._states.step(heard, not heard and set(self._commander.unheard()) >= set(self._commander.topics))

    def heard(self, topic: str) -> None:
        """Call it after each message."""
        self._live(self.received, topic)

    def _live(self, work: Callable[..., None], *arguments: object) -> None:
        """Do a piece of the loop's work in a callback. What it raises is no message's fault: the loop is dead then."""
        if self.failure:
            return
        try:
            work(*arguments)
        except Exception:
            self.failure = traceback.format_exc()

    def give_up(self, reason: str) -> None:
        """Nobody shall wait any more for the tick in progress."""
        self._hangs = True
        self.failure = reason

    def _decide(self) -> Decision:
        """Ask the controller, with the latest messages and a person's commands, if there are any."""
        stages = self._controller.stages
        stages.begin()
        try:
            begins = not self._controller.running
            sample = self._observer.sample(begins)
        except ObservationError as error:
            return self._controller.refuse("message", str(error))
        finally:
            stages.done("observe")
        drawn = self._resetter.take_drawn() if begins else {}
        sample = replace(sample, drawn=drawn) if drawn else sample
        person = self._parts.takeover.commands()
        return self._controller.tick(sample, person, self._parts.takeover.idle)

    def _glance(self) -> Arrays | None:
        """What the robot shows, outside of episodes; None if that cannot be read. Nor does it begin to drive by what
        cannot be; while it is driven the guard looks at that too.
        """
        try:
            observation = self._observer.sample().observation
        except ObservationError as error:
            self._controller.refuse("message", str(error))
            return None
        unled = self._states.away or not self._states.driving
        if unled and (problem := self._controller.impossible(observation)):
            self._controller.refuse("observation_range", problem)
            return None
        return observation

    def _rest(self, seconds: float, wait: Callable[[float], object]) -> None:
        """Wait, but no longer than until a fault latches, and beat on: a period may be seconds, in which a stop must
        not wait, nor a low level miss the heartbeat.

        wait: for some seconds; true ends it all.
        """
        before, end = self._guard.fault, time.monotonic() + seconds
        while (left := end - time.monotonic()) > _LOOK:
            if wait(_LOOK) or self._guard.fault not in (None, before):
                return
            self._parts.heartbeat.beat(self._states.alive)
        wait(max(0.0, left))

    def _end(self) -> None:
        """Nothing ticks any more: cut the episode, lead the robot to the safe pose, and say if that failed."""
        self._resetter.cancel()
        self._controller.abandon()
        problem = self._settle()
        if problem:
            self._parts.logger.error(problem)

    def _settle(self) -> str:
        """Lead the robot to the safe pose. Returns what went wrong; empty if nothing."""

        def send(commands: Commands) -> None:
            self._parts.heartbeat.beat(self._states.alive)  # a low level that requires it must obey the ramp too
            self._commander.publish(commands)

        reached = self._states.settle(send, lambda seconds: self._rest(seconds, time.sleep))
        self._parts.heartbeat.beat(False)
        return "" if reached else "the safe pose was not reached in time: an action's max_rate is too low for it"
