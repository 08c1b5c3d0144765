"""Real time: the world does not wait. A thread of its own ticks at absolute deadlines and reads the latest messages.

Its phases (phase.py):

  IDLE       the policy is not to act (robot_dreamer/onboard/states.py)
  WAITING    no fresh sensors yet, or no more: neutral command; when they come, a reset if the spec names one
  RESETTING  the robot resets itself, once it is at the safe pose: neutral command
  READY      reset done: neutral command until every sensor has spoken again
  RUNNING    an episode
A sensor older than its max_age, or a clock that jumps, cuts the episode and leads back to WAITING; every other state
than POLICY cuts it and leads to IDLE. A refused sample cuts it too, but the next one may begin another. When an episode
has had no good sample for `stale_seconds`, be it silence or nonsense, the guard latches `stale`.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack

from robot_dreamer.onboard.limits import Commands
from robot_dreamer.onboard.priority import calm_interpreter, set_priority
from robot_dreamer.onboard.rate import RateLoop
from robot_dreamer.onboard.states import DriveState
from ros_nodes.phase import Phase
from ros_nodes.runner import LoopParts, Runner

_PATIENCE = 2.0  # seconds without an episode before saying so
_LAST_TICK = 5.0  # seconds that the tick in progress may still take when all ends


class Realtime(Runner):
    """Drives a controller at the spec's rate.

    Args:
      now: ns of the ROS clock, for stamp_applied.
      priority, core: of the loop's thread, see `set_priority`.

    Attributes:
      loop: rate and jitter.
    """

    def __init__(self, parts: LoopParts, now: Callable[[], int], priority: int = 0, core: int = -1) -> None:
        super().__init__(parts)
        self._stop = threading.Event()
        self.loop = RateLoop(parts.spec.period, sleep=self._pause)
        self._now = now
        self._priority, self._core = priority, core
        self._calm = ExitStack()
        self._period = parts.spec.period
        self._stale = parts.spec.safety.stale_seconds
        self._thread: threading.Thread | None = None
        self._jumps = 0
        self._since = time.monotonic()  # of the phase
        self._sound_at: float | None = None  # when the last good sample came; None: none since the reset or IDLE
        self._problem = ""  # why the last tick could not act
        self._over_since: float | None = None  # since when the task has been over before an episode could begin
        self._settling = False  # the loop died and its thread leads the robot to the safe pose

    @property
    def ticks(self) -> int:
        return self.loop.ticks

    @property
    def misses(self) -> int:
        return self.loop.misses

    @property
    def overdue(self) -> float:
        return self.loop.overdue if self._thread is not None and not self._settling else 0.0

    def start(self) -> None:
        self._stop.clear()
        self.loop = RateLoop(self._period, sleep=self._pause)
        self._sound_at = None
        self._enter(Phase.IDLE)
        self._heard_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="control-loop", daemon=True)
        self._calm.enter_context(calm_interpreter(self._period))
        self._thread.start()
        assert self._thread.native_id is not None  # it has started
        for refused in set_priority(self._thread.native_id, self._priority, self._core):
            self._parts.logger.warning(refused)

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            patience = _LAST_TICK + self._parts.spec.safety.ramp_seconds  # it may be on the way to the safe pose
            self._thread.join(0.0 if self._hangs else patience)
            if self._thread.is_alive() and not self.failure:
                self.failure = f"the control loop did not end within {patience:g} s"
            self._thread = None
        self._calm.close()
        self._end()

    def received(self, topic: str) -> None:
        """Messages wait in the observer for the next tick."""

    def _waiting_for(self) -> str:
        if not self._problem and self._over_since and time.monotonic() - self._over_since > _PATIENCE:
            terminal = self._parts.spec.terminal
            assert terminal is not None  # nothing else says so
            where = terminal.expression or f"topic {terminal.topic}"
            return f"no episode begins, for the task is over: terminal, {where}"
        if self.phase is Phase.RUNNING or time.monotonic() - self._since < _PATIENCE or not self._problem:
            return ""
        return self._problem

    def _run(self) -> None:
        try:
            while True:
                missed = self.loop.wait()
                if self._stop.is_set():
                    return
                self._tick(missed)
        except Exception:  # the thread's last words; the node sees `failure` and stops the process
            words = traceback.format_exc()
            if self._stop.is_set():  # whoever stops the loop leads the robot, and may have begun to
                self.failure = f"{self.failure}\n{words}".strip()
                return
            self._settling = True
            try:
                self._controller.abandon()
                words += self._settle()
            finally:  # not before: two threads must not lead the robot
                self.failure = words

    def _pause(self, seconds: float) -> None:
        self._rest(seconds, self._stop.wait)

    def _tick(self, missed: int) -> None:
        if self.phase is Phase.RUNNING:
            self._guard.judge_deadline(missed)
        else:  # at each tick, or too much would have come by the first of an episode, and count as lost
            self._observer.judge.skip()
        state = self._step()
        self._parts.heartbeat.beat(self._states.alive)
        if state is not DriveState.POLICY:
            self._stand_by()
            return
        if self.phase is Phase.IDLE:
            self._enter(Phase.WAITING)
        if self.phase is Phase.RESETTING:
            if self._resetter.active:
                self._send(self._guard.neutral())
                return
            self._observer.forget(self._resetter.first_stamp)
            self._jumps = self._observer.clock_jumps  # a reset may set the clock
            self._enter(Phase.READY)
        self._problem = self._find_problem()
        if self._problem:
            if self.phase is Phase.RUNNING:
                self._controller.abandon()
                self._enter(Phase.WAITING)
            self._send(self._guard.neutral())
            return
        if self.phase is Phase.WAITING and self._resetter.available:
            self._reset()
            return
        if self.phase is not Phase.RUNNING:
            self._enter(Phase.RUNNING)
        self._act()

    def _stand_by(self) -> None:
        if self.phase is not Phase.IDLE:
            self._controller.abandon()
            self._resetter.withdraw()
            self._sound_at = None
            self._over_since = None
            self._enter(Phase.IDLE)
        self._problem = self._silence()  # a person should know it before asking for the policy
        command = self._states.command(self._glance() if self._states.looks and not self._problem else None)
        if command is not None:
            self._send(command)

    def _find_problem(self) -> str:
        """Why there must be no episode now; empty if there may be one."""
        problem, jumps = self._silence(), self._observer.clock_jumps
        jumped, self._jumps = jumps != self._jumps, jumps
        if jumped:  # the robot began again: its world is not the one that the reset's answer is about
            self._resetter.drawn = {}
        if problem:
            self._judge_stale(problem)
            return problem
        return "the robot's clock jumped" if jumped else ""

    def _silence(self) -> str:
        missing = self._observer.missing()
        return f"no fresh messages from {', '.join(missing)}" if missing else ""

    def _judge_stale(self, problem: str) -> None:
        """An episode without a good sample for too long is a fault. Sensors that gave none yet moved nothing."""
        if self._stale and self._sound_at is not None and time.monotonic() - self._sound_at > self._stale:
            self._guard.latch("stale", f"no good sample for {self._stale:g} s: {problem}")

    def _act(self) -> None:
        begins = not self._controller.running
        decision = self._decide()
        self._over_since = (self._over_since or time.monotonic()) if begins and decision.is_last else None
        if decision.refused:
            self._judge_stale(decision.refused)
        else:
            self._sound_at = time.monotonic()
        if self._stop.is_set():  # see _send
            self._controller.abandon()
        elif decision.is_last:
            if self._resetter.available:
                self._reset()
            else:  # the world goes on, perhaps terminal for long; the policy's last command must not stand
                self._send(self._guard.neutral())
        elif decision.fault is not None:
            if decision.command is not None:
                self._send(decision.command)
        elif decision.command is None:  # refused
            self._send(self._guard.neutral())
        else:
            self._send(decision.command)
            self._controller.stages.done("publish")
            if self._heard():
                self._controller.applied(self._now())
            else:  # nothing was executed
                self._controller.abandon()

    def _send(self, commands: Commands) -> None:
        """No word after the last one: a tick that took so long that the node has ended meanwhile sends nothing."""
        if not self._stop.is_set():
            self._commander.publish(commands)

    def _reset(self) -> None:
        self._send(self._guard.neutral())
        self._resetter.request()
        self._sound_at = None
        self._enter(Phase.RESETTING)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._since = time.monotonic()
