"""The guard: the last word on every command, whatever the policy says. On by default.

  command not finite        -> neutral command, fault latched
  command outside limits    -> clipped, counted
  command changes too fast  -> slewed at max_rate, counted (continuous actions that name a max_rate)

A latched fault means neutral commands (slewed like any other) and no policy until a person clears it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import RobotSpec

Commands = dict[str, NDArray[np.float64]]

_SETTLE = 2.0  # seconds that the way to neutral may take when all ends


class Guard:
    """Limits on commands, in units; one instance per robot.

    Attributes:
      fault: why the guard has latched; empty while it has not.
      faults, clipped, slewed: how often it latched, and how many commands it changed.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self.fault = ""
        self.faults = 0
        self.clipped = 0
        self.slewed = 0
        self._period = spec.period
        self._actions = spec.actions
        self._neutral: Commands = {a.name: a.neutral_command() for a in spec.actions}
        self._limits = {a.name: (np.asarray(a.low), np.asarray(a.high)) for a in spec.actions if not a.discrete}
        limited = [a for a in spec.actions if a.max_rate and not a.discrete]
        self._steps = {a.name: np.asarray(a.max_rate) * spec.period for a in limited}
        self._last = dict(self._neutral)

    def check(self, commands: Mapping[str, NDArray[Any]]) -> Commands:
        """The commands that may go out. Call it once for each set of commands that is sent: it remembers them."""
        for name, command in commands.items():
            if not np.isfinite(command).all():
                self.latch(f"command {name} is not finite: {command}")
        if self.fault:
            commands = self._neutral
        self._last = {a.name: self._check_one(a.name, commands[a.name]) for a in self._actions}
        return dict(self._last)

    @property
    def last(self) -> Commands:
        """The commands that went out last; the neutral ones after `forget`."""
        return dict(self._last)

    def neutral(self) -> Commands:
        """The safe commands, within the rate limits of the last ones."""
        return self.check(self._neutral)

    def settle(self, send: Callable[[Commands], None], sleep: Callable[[float], object] = time.sleep) -> bool:
        """Send safe commands, one per period, until the neutral one is out; False when 2 s were too short for it."""
        for _ in range(math.ceil(_SETTLE / self._period)):
            command = self.neutral()
            send(command)
            if all(np.array_equal(command[name], neutral) for name, neutral in self._neutral.items()):
                return True
            sleep(self._period)
        return False

    def latch(self, reason: str) -> None:
        """Fault until `clear`; the first reason stays."""
        if not self.fault:
            self.fault = reason
            self.faults += 1

    def clear(self) -> None:
        """A person has looked at it."""
        self.fault = ""

    def forget(self) -> None:
        """The robot was reset: rates count from the neutral command again."""
        self._last = dict(self._neutral)

    def _check_one(self, name: str, command: NDArray[Any]) -> NDArray[np.float64]:
        if name not in self._limits:  # one of a discrete action's values, nothing between them
            return np.asarray(command, np.float64)
        limited: NDArray[np.float64] = np.clip(command, *self._limits[name])
        if (limited != command).any():
            self.clipped += 1
        step = self._steps.get(name)
        if step is None:
            return limited
        slewed: NDArray[np.float64] = np.clip(limited, self._last[name] - step, self._last[name] + step)
        if (slewed != limited).any():
            self.slewed += 1
        return slewed
