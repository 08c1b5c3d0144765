"""Lockstep: the world waits for the action. Every complete set of equal stamps is one tick.

  repeated stamp                   the answer was lost: send the same command again
  episode over                     no command, but a reset; samples wait for its answer, and must carry another stamp
                                   (a robot without a reset gets the neutral command)
  stamp runs back, or leaps        the robot began again: the episode is cut, and reset
  sample refused                   the episode is cut, and reset
  fault latched                    neutral commands, so that the world goes on; a reset when it has been cleared
Everything happens in the thread that spins the node.
"""

from __future__ import annotations

import time

from rclpy.impl.rcutils_logger import RcutilsLogger

from robot_dreamer.onboard.controller import Controller
from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.spec import RobotSpec
from ros_nodes.commander import Commander
from ros_nodes.observer import Observer
from ros_nodes.reset import Resetter

_LEAP = 2.5  # periods between two stamps of an episode that say: not the same episode
_PATIENCE = 2.0  # seconds without a complete set before saying so


class Lockstep:
    """Drives a controller by complete sets of stamps.

    Attributes:
      ticks, misses: sets answered for the first time; deadlines missed: none, because the world waits.
      repeats: sets answered again.
      failure: why it can go on no longer; stays empty, errors come up in the callbacks.
    """

    misses = 0
    failure = ""

    def __init__(
        self,
        spec: RobotSpec,
        observer: Observer,
        controller: Controller,
        commander: Commander,
        resetter: Resetter,
        logger: RcutilsLogger,
    ) -> None:
        self.ticks = 0
        self.repeats = 0
        self._observer = observer
        self._controller = controller
        self._commander = commander
        self._resetter = resetter
        self._logger = logger
        self._leap = round(_LEAP * spec.period * 1e9)
        self._last: int | None = None  # stamp of the last set looked at
        self._answered = False  # it got a command
        self._faulted = False  # that was the guard's
        self._again = spec.reward.topic  # a repeated set is answered when this topic, one of many, comes
        self._running = False
        self._complete_at = time.monotonic()

    def start(self) -> None:
        self._last = None
        self._running = True
        self._complete_at = time.monotonic()
        self._resetter.on_done = self._reset_done

    def stop(self) -> None:
        """The episode is cut and the robot is led to the neutral command, for 2 s at most."""
        self._running = False
        self._resetter.cancel()
        self._controller.abandon()
        if not self._controller.guard.settle(self._commander.publish):
            self._logger.error("the neutral command was not reached in time: an action's max_rate is too low for it")

    def received(self, topic: str) -> None:
        """Call it after each message that the observer got."""
        if not self._running:
            return
        stamp = self._observer.common_stamp()
        if stamp is None:
            return
        self._complete_at = time.monotonic()
        last = self._last
        if self._resetter.active:
            if last is not None and stamp < last:
                self._last = stamp
                self._resetter.restart()
            return
        if stamp == last:
            if self._answered and topic == self._again:
                self.repeats += 1
                self._commander.repeat(str(stamp))
            return
        if last is None:
            self._reset(stamp)
        elif self._faulted and not self._controller.guard.fault:
            self._faulted = False
            self._reset(stamp)
        elif self._controller.running and not 0 < stamp - last < self._leap:
            self._logger.warning("the robot began again by itself; the episode is cut")
            self._reset(stamp)
        else:
            self._tick(stamp)

    def waiting_for(self) -> str:
        """What it has been waiting for, too long to be silent about; empty if nothing."""
        waited = time.monotonic() - self._complete_at
        if not self._running or waited < _PATIENCE or self._resetter.active:
            return ""
        stamps = self._observer.stamps()
        unseen = [t for t in self._observer.topics if t not in stamps]
        if unseen:
            return f"no message yet from {', '.join(unseen)}"
        newest = max(stamps.values())
        behind = [t for t, stamp in stamps.items() if stamp < newest]
        return f"no new sensors for {waited:.1f} s" + (f"; behind the others: {', '.join(behind)}" if behind else "")

    def _tick(self, stamp: int) -> None:
        self._last, self._answered = stamp, False
        self.ticks += 1
        try:
            decision = self._controller.tick(self._observer.sample())
        except ObservationError as error:
            decision = self._controller.refuse("message", str(error))
        if decision.command is not None:
            self._commander.publish(decision.command, str(stamp))
            self._answered, self._faulted = True, bool(decision.fault)
            if not decision.fault:
                self._controller.applied(stamp)  # the world stood still in between
            return
        if decision.refused:
            self._logger.error(f"sample refused: {decision.refused}", throttle_duration_sec=5.0)
        self._reset(stamp)

    def _reset(self, stamp: int) -> None:
        """The episode is over. Reset the robot; if it has no reset, let the world go on with the neutral command."""
        self._controller.abandon()
        self._last, self._answered = stamp, False
        if self._resetter.available:
            self._resetter.request()
            self._resetter.poll()
        else:
            self._commander.publish(self._controller.guard.neutral(), str(stamp))
            self._answered = True

    def _reset_done(self) -> None:
        self._controller.guard.forget()
        stamp = self._observer.common_stamp()
        if self._running and stamp is not None and stamp != self._last:
            self._tick(stamp)  # the first sensors were faster than the answer
