"""Lockstep: the world waits for the action. Every complete set of equal stamps is one tick.

  repeated stamp                   the answer was lost: send the same command again
  episode over                     no command, but a reset; samples wait for its answer, and must carry another stamp
                                   (a robot without a reset gets the neutral command)
  stamp runs back, or leaps        the robot began again: the episode is cut, and reset
  sample refused                   the episode is cut, and reset
  not under the policy             the commands of that state, so that the world goes on; where it has none the world
                                   waits. A reset when the policy is to act again
Everything happens in the thread that spins the node. The phases are those of real time (phase.py); between two episodes
without a reset service it is WAITING.
"""

from __future__ import annotations

import time
from functools import partial

from robot_dreamer.onboard.limits import Commands
from robot_dreamer.onboard.states import DriveState
from ros_nodes.phase import Phase
from ros_nodes.runner import LoopParts, Runner

_LEAP = 2.5  # periods between two stamps of an episode that say: not the same episode
_PATIENCE = 2.0  # seconds without a complete set before saying so


class Lockstep(Runner):
    """Drives a controller by complete sets of stamps. A tick is a set that is answered for the first time."""

    def __init__(self, parts: LoopParts) -> None:
        super().__init__(parts)
        self.repeats = 0
        self._ticks = 0
        self._leap = round(_LEAP * parts.spec.period * 1e9)
        self._last: int | None = None  # stamp of the last set looked at
        self._answered = False  # it got a command
        # A repeated set is answered when this topic, one of many, comes. What is held may be said but once.
        self._again = [topic for topic in parts.observer.topics if topic not in parts.observer.held][-1]
        self._running = False
        self._complete_at = time.monotonic()

    @property
    def ticks(self) -> int:
        return self._ticks

    @property
    def misses(self) -> int:
        return 0

    @property
    def overdue(self) -> float:
        return 0.0

    def start(self) -> None:
        self._last = None
        self.phase = Phase.IDLE
        self._running = True
        self._complete_at = self._heard_at = time.monotonic()
        self._resetter.on_done = partial(self._live, self._reset_done)

    def stop(self) -> None:
        self._running = False
        self._end()

    def received(self, topic: str) -> None:
        if not self._running:
            return
        stamp = self._observer.common_stamp()
        if stamp is None:
            return
        self._complete_at = time.monotonic()
        state = self._step()
        self._parts.heartbeat.beat(self._states.alive)
        last = self._last
        anew = last is not None and not 0 <= stamp - last < self._leap
        if state is not DriveState.POLICY:
            if anew:  # and no command is in force there
                self._guard.limits.start({})
            self._stand_by(stamp, topic)
        elif self._resetter.active:
            if last is not None and stamp < last:
                self._last = stamp
                self._resetter.restart()
        elif self.phase is Phase.IDLE:
            self._reset(stamp)
        elif stamp == last:
            self._repeat(stamp, topic)
        elif self._controller.running and anew:
            self._parts.logger.warning("the robot began again by itself; the episode is cut")
            self._reset(stamp)
        else:
            self._tick(stamp)

    def _waiting_for(self) -> str:
        waited = time.monotonic() - self._complete_at
        if not self._running or waited < _PATIENCE or self._resetter.active:
            return ""
        if self._observer.contested:
            return "; ".join(f"{name}: {problem}" for name, problem in self._observer.contested.items())
        stamps = self._observer.stamps()
        unseen = [t for t in self._observer.topics if t not in stamps]
        if unseen:
            return f"no message yet from {', '.join(unseen)}"
        newest = max(stamps.values())
        behind = [t for t, stamp in stamps.items() if stamp < newest]
        return f"no new sensors for {waited:.1f} s" + (f"; behind the others: {', '.join(behind)}" if behind else "")

    def _tick(self, stamp: int) -> None:
        self._last, self._answered = stamp, False
        self._ticks += 1
        if stamp != self._resetter.first_stamp:  # the robot began again before the episode that its answer is about
            self._resetter.drawn = {}
        decision = self._decide()
        if decision.fault is not None:
            self.phase = Phase.IDLE
            self._answer(decision.command, stamp)
        elif decision.command is not None:
            self.phase = Phase.RUNNING
            self._answer(decision.command, stamp)
            if self._heard():
                self._controller.applied(stamp)  # the world stood still in between
            else:  # nothing was executed
                self._controller.abandon()
        else:
            self._reset(stamp)

    def _stand_by(self, stamp: int, topic: str) -> None:
        """Not under the policy: a set is answered by what the state says, or not at all."""
        if self.phase is not Phase.IDLE:
            self.phase = Phase.IDLE
            self._controller.abandon()
            self._resetter.cancel()
        if stamp == self._last and self._answered:
            self._repeat(stamp, topic)
            return
        self._last = stamp
        self._answer(self._states.command(self._glance() if self._states.looks else None), stamp)

    def _answer(self, command: Commands | None, stamp: int) -> None:
        self._answered = command is not None
        if command is not None:
            self._commander.publish(command, str(stamp))
            self._controller.stages.done("publish")

    def _repeat(self, stamp: int, topic: str) -> None:
        if self._answered and topic == self._again:
            self.repeats += 1
            self._commander.repeat(str(stamp))

    def _reset(self, stamp: int) -> None:
        """The episode is over. Reset the robot; if it has no reset, let the world go on with the neutral command."""
        self._controller.abandon()
        self._last, self._answered = stamp, False
        if self._resetter.available:
            self.phase = Phase.RESETTING
            self._resetter.request()
            self._resetter.poll()
        else:
            self.phase = Phase.WAITING
            self._answer(self._guard.neutral(), stamp)

    def _reset_done(self) -> None:
        self._guard.limits.start({})  # a world that was set up anew has no command in force
        first, stamp = self._resetter.first_stamp, self._observer.common_stamp()
        self._observer.expect(first)
        if self.phase is not Phase.RESETTING:
            return
        self.phase = Phase.READY
        if self._running and stamp is not None and stamp != self._last and stamp >= first:
            self._tick(stamp)  # the first sensors were faster than the answer
