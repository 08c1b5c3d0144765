"""Real time: the world does not wait. A thread of its own ticks at absolute deadlines and reads the latest messages.

  WAITING    no fresh sensors yet, or no more: neutral command; when they come, a reset if the spec names one
  RESETTING  the robot resets itself: neutral command
  READY      reset done: neutral command until every sensor has spoken again
  RUNNING    an episode
A sensor older than its max_age, a clock that runs back or a latched fault cut the episode and lead back to WAITING. A
refused sample cuts it too, but the next one may begin another.
"""

from __future__ import annotations

import enum
import threading
import time
import traceback
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger

from robot_dreamer.onboard.controller import Controller
from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.onboard.rate import RateLoop
from robot_dreamer.spec import RobotSpec
from ros_nodes.commander import Commander
from ros_nodes.observer import Observer
from ros_nodes.reset import Resetter

_PATIENCE = 2.0  # seconds without an episode before saying so


class Phase(enum.Enum):
    WAITING = "waiting for sensors"
    RESETTING = "resetting"
    READY = "waiting for the first sensors after the reset"
    RUNNING = "running"


class Realtime:
    """Drives a controller at the spec's rate.

    Args:
      now: ns of the ROS clock, for stamp_applied.

    Attributes:
      loop: rate and jitter.
      repeats: commands sent again; none in real time.
      failure: why the loop died; empty while it lives.
    """

    repeats = 0

    def __init__(
        self,
        spec: RobotSpec,
        observer: Observer,
        controller: Controller,
        commander: Commander,
        resetter: Resetter,
        logger: RcutilsLogger,
        now: Callable[[], int],
    ) -> None:
        self.failure = ""
        self.phase = Phase.WAITING
        self._stop = threading.Event()
        self.loop = RateLoop(spec.period, sleep=self._stop.wait)
        self._observer = observer
        self._controller = controller
        self._commander = commander
        self._resetter = resetter
        self._logger = logger
        self._now = now
        self._period = spec.period
        self._thread: threading.Thread | None = None
        self._jumps = 0
        self._since = time.monotonic()  # of the phase
        self._problem = ""  # why the last tick could not act

    @property
    def ticks(self) -> int:
        return self.loop.ticks

    @property
    def misses(self) -> int:
        return self.loop.misses

    def start(self) -> None:
        self._stop.clear()
        self.loop = RateLoop(self._period, sleep=self._stop.wait)
        self._enter(Phase.WAITING)
        self._thread = threading.Thread(target=self._run, name="control-loop", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the loop; the episode is cut and the robot is led to the neutral command, for 2 s at most."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None
        self._resetter.cancel()
        self._controller.abandon()
        self._settle()

    def received(self, topic: str) -> None:
        """Messages wait in the observer for the next tick."""

    def waiting_for(self) -> str:
        """What it has been waiting for, too long to be silent about; empty if nothing."""
        if self.phase is Phase.RUNNING or time.monotonic() - self._since < _PATIENCE or not self._problem:
            return ""
        return self._problem

    def _run(self) -> None:
        try:
            while True:
                self.loop.wait()
                if self._stop.is_set():
                    return
                self._tick()
        except Exception:  # the thread's last words; the node sees `failure` and stops the process
            self.failure = traceback.format_exc()
            self._controller.abandon()
            self._settle()

    def _settle(self) -> None:
        if not self._controller.guard.settle(self._commander.publish):
            self._logger.error("the neutral command was not reached in time: an action's max_rate is too low for it")

    def _tick(self) -> None:
        if self.phase is Phase.RESETTING:
            if self._resetter.active:
                self._commander.publish(self._controller.guard.neutral())
                return
            self._controller.guard.forget()
            self._observer.forget()
            self._enter(Phase.READY)
        self._problem = self._find_problem()
        if self._problem:
            if self.phase is Phase.RUNNING:
                self._controller.abandon()
                self._enter(Phase.WAITING)
            self._commander.publish(self._controller.guard.neutral())
            return
        if self.phase is Phase.WAITING and self._resetter.available:
            self._reset()
            return
        if self.phase is not Phase.RUNNING:
            self._enter(Phase.RUNNING)
        self._act()

    def _find_problem(self) -> str:
        """Why there must be no episode now; empty if there may be one."""
        missing, jumps = self._observer.missing(), self._observer.clock_jumps
        jumped, self._jumps = jumps != self._jumps, jumps
        if missing:
            return f"no fresh messages from {', '.join(missing)}"
        return "the robot's clock ran back" if jumped else self._controller.guard.fault

    def _act(self) -> None:
        try:
            decision = self._controller.tick(self._observer.sample())
        except ObservationError as error:
            decision = self._controller.refuse("message", str(error))
        if decision.is_last:
            if self._resetter.available:
                self._reset()
            else:  # the world goes on, perhaps terminal for long; the policy's last command must not stand
                self._commander.publish(self._controller.guard.neutral())
            return
        if decision.refused:
            self._logger.error(f"sample refused: {decision.refused}", throttle_duration_sec=5.0)
        if decision.command is None:
            self._commander.publish(self._controller.guard.neutral())
            return
        self._commander.publish(decision.command)
        if not decision.fault:
            self._controller.applied(self._now())

    def _reset(self) -> None:
        self._commander.publish(self._controller.guard.neutral())
        self._resetter.request()
        self._enter(Phase.RESETTING)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._since = time.monotonic()
