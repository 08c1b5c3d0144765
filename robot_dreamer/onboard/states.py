"""Who drives: the states of a robot under a policy node.

            stand             safe pose reached,          fault in any state
   PASSIVE -------> STAND ------------------> POLICY      ------------------> FAULT (latched)
      ^               |      policy wanted      |                               |
      |<--------------+<------------------------+          cleared by a person  |
      |            passive                                                      |
      +-------------------------------------------------------------------------+

  PASSIVE  nobody drives: no commands. Coming from STAND or POLICY, the safe pose first. Also while nobody listens.
           Behind a fault its reaction goes on to its end, and a hold until somebody asks for something
  STAND    ramp to the safe pose (the neutral commands), from where the robot is if the spec says what tells it
  POLICY   episodes; between them the safe pose
  FAULT    the reaction of the rule that latched; a robot that nobody drove is left alone

People and timers say in any thread which state they want; the thread that ticks goes there. With `automatic` POLICY
is wanted from the beginning, and again after a fault is cleared; otherwise a cleared fault leaves the robot PASSIVE.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.guard import Fault, Guard
from robot_dreamer.onboard.limits import Commands
from robot_dreamer.spec import RobotSpec


class DriveState(enum.Enum):
    PASSIVE = "passive"
    STAND = "stand"
    POLICY = "policy"
    FAULT = "fault"


class StateMachine:
    """See the module. `want` may be called in any thread, the rest in the one that ticks.

    Attributes:
      state: as of the last step.
      driving: commands of this node are in force: the robot must not be left without one.
      away: nobody heard a robot that is driven, which may be a driver that starts again: where the robot is must be
        seen before it is sent more. Only where the spec says what tells it.
    """

    def __init__(self, spec: RobotSpec, guard: Guard, automatic: bool) -> None:
        self.state = DriveState.PASSIVE
        self.driving = self.away = False
        self._deaf = False  # some have not heard the commands since the way to the safe pose began
        self._alone = False  # nobody hears any of them
        self._stopped = False  # a low level was told to stop, or nothing, so only a look tells where the robot is
        self._reacting: Fault | None = None  # cleared, and nobody has asked for anything since
        self._guard = guard
        self._pose = spec.safety.pose
        self._default = DriveState.POLICY if automatic else DriveState.PASSIVE
        # The wish and the latest fault when it was made: a wish from before a fault is void. One reference, set at
        # once.
        self._wish: tuple[DriveState, Fault | None] = (self._default, None)
        self._seen: Fault | None = None  # the latest fault that led to FAULT

    def want(self, state: DriveState) -> str:
        """Ask for PASSIVE, STAND or POLICY. Returns why not; empty if it was accepted."""
        latest = self._guard.latest  # before the fault: one that latches in between voids the wish
        fault = self._guard.fault
        if fault is not None:
            return f"a fault is latched ({fault}); clear it first"
        self._wish = (state, latest)
        return ""

    def step(self, heard: bool = True, alone: bool = False) -> DriveState:
        """The state of this tick.

        Args:
          heard: all commands are got by somebody. Otherwise nobody drives, and those who get some are led to the safe
            pose.
          alone: nobody gets any. Then nothing is sent, and whoever listens again is led, or held by a fault, from where
            the robot is: a ramp that went on unheard would begin with a leap.
        """
        self._alone = alone
        self._stopped |= alone and self.driving
        self.away = self.driving and bool(self._pose) and (self.away or alone)
        self._deaf = not heard or (self._deaf and self.driving and not self._stopped)
        fault, latest = self._guard.fault, self._guard.latest
        if fault is not None:
            self._seen = fault
            self.state = DriveState.FAULT
            self._stopped |= fault.reaction == "stop"
        elif latest is not self._seen:  # it came and went between two ticks; the episode is over all the same
            self._seen = latest
            self._leave_fault()
            self._stopped |= latest is not None and latest.reaction == "stop"
        else:
            wanted = self._wanted(latest)
            if wanted is not DriveState.PASSIVE or self._wish[1] is latest:
                self._reacting = None
            self._move(DriveState.PASSIVE if self._deaf else wanted)
        self.driving |= self.state is DriveState.POLICY
        return self.state

    @property
    def looks(self) -> bool:
        """What goes out in this tick depends on what the robot shows."""
        return self.state is DriveState.STAND or self.away

    def command(self, observation: Mapping[str, NDArray[Any]] | None = None) -> Commands | None:
        """What goes out in every state but POLICY; None: nothing. `observation`, if there is one: see `looks`."""
        if self._alone:
            return None
        if self.state is DriveState.STAND:
            return self._stand(observation)
        if not self.driving or (self.away and not self._find(observation)):
            return None
        if self.state is DriveState.FAULT:
            fault = self._guard.fault or self._seen
            assert fault is not None
            self.driving = fault.reaction != "damp"
            return self._guard.react(fault)
        limits = self._guard.limits
        if self._reacting is None:
            command = self._guard.neutral()
            self.driving = not limits.at_neutral
            return command
        reaction = self._guard.react(self._reacting)
        self.driving = self._reacting.reaction == "hold" or not limits.at_rest
        return reaction

    @property
    def alive(self) -> bool:
        """What the heartbeat says: commands come, and the low level shall obey them."""
        fault = self._guard.fault
        return self.driving and not self._stopped and (fault is None or fault.obeyed)

    def settle(self, send: Callable[[Commands], None], sleep: Callable[[float], object] = time.sleep) -> bool:
        """Nobody will tick any more: lead a robot that is driven to the safe pose, by its reaction where there is a
        fault, also one that latches on the way; its hold and damp stay. `alive` holds until the end.

        Whoever ticks again begins in PASSIVE, with the wish of the beginning. False if the safe pose was not reached in
        time.
        """
        self.state = DriveState.PASSIVE
        self._wish = (self._default, self._guard.latest)
        try:
            return not self.driving or self.away or self._guard.settle(send, sleep)
        finally:
            self.driving = self._stopped = self.away = False
            self._reacting = None

    def _wanted(self, latest: Fault | None) -> DriveState:
        state, when = self._wish
        return state if when is latest else self._default

    def _move(self, wanted: DriveState) -> None:
        if self.state is DriveState.FAULT:  # for a tick at least, so that whoever ticks sees that the episode is over
            reaction = self._seen.reaction if self._seen is not None else ""
            self.driving &= reaction != "stop" or not self._guard.limits.at_rest
            self._leave_fault()
            return
        if wanted is DriveState.PASSIVE:
            self.state = DriveState.PASSIVE
            return
        if self._stopped:
            self.driving = self._stopped = False
        if self.state is DriveState.PASSIVE or wanted is DriveState.STAND:
            self.state = DriveState.STAND
        standing = self._guard.limits.at_neutral and (self.driving or not self._pose)
        if self.state is DriveState.STAND and wanted is DriveState.POLICY and standing:
            self.state = DriveState.POLICY

    def _leave_fault(self) -> None:
        self.state = DriveState.PASSIVE
        self._reacting = self._seen if self._seen is not None and self._seen.reaction != "damp" else None
        self.driving &= self._reacting is not None

    def _stand(self, observation: Mapping[str, NDArray[Any]] | None) -> Commands | None:
        if observation is not None and (fault := self._guard.inspect(observation)) is not None:
            return self._guard.react(fault) if self.driving else None
        if not self.driving and not self._find(observation):
            return None
        self.driving = True
        return self._guard.neutral()

    def _find(self, observation: Mapping[str, NDArray[Any]] | None) -> bool:
        """Commands go on from where the robot is, if the spec says what tells it. False: nobody knows where that is."""
        if self._pose:
            if observation is None:
                return False
            measured = {action: np.asarray(observation[name], np.float64) for action, name in self._pose.items()}
            self._guard.limits.start(measured, keep=self.away)
        self.away = False
        return True
