"""Limits on commands: range and rate, and the way to the neutral command. Remembers what went out last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.spec import RobotSpec

Commands = dict[str, NDArray[np.float64]]
Masks = Mapping[str, NDArray[np.bool_]]
"""Which numbers of an action, by its name: [size], or [1] for all of them."""


class CommandLimits:
    """One instance per robot; one thread at a time.

    Attributes:
      last: the commands that went out last, in units, by action name; neutral before the first.
      clipped, slewed: commands that were outside their limits, or changed faster than max_rate.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self.clipped = 0
        self.slewed = 0
        self._neutral: Commands = {a.name: a.neutral_command() for a in spec.actions}
        self._limits = {a.name: (np.asarray(a.low), np.asarray(a.high)) for a in spec.actions if not a.discrete}
        limited = [a for a in spec.actions if a.max_rate and not a.discrete]
        self._steps = {a.name: np.asarray(a.max_rate) * spec.period for a in limited}
        ramp = spec.safety.ramp_seconds
        self._gentle = dict(self._steps)
        for name, (low, high) in self._limits.items() if ramp else ():
            step = (high - low) * min(1.0, spec.period / ramp)
            self._gentle[name] = np.minimum(step, self._steps.get(name, step))
        self._kept = frozenset(spec.safety.keep)
        self.last: Commands = dict(self._neutral)

    def apply(self, commands: Mapping[str, NDArray[Any]], gently: Masks | None = None) -> Commands:
        """Finite commands within range and rate: what is to go out, and will be `last`.

        gently: what goes no faster than the ramp either; of it `safety.keep` stays where it is.
        """
        out: Commands = {}
        for name in self.last:
            command = np.asarray(commands[name], np.float64)
            if gently and name in gently and name in self._kept:
                command = np.where(gently[name], self.last[name], command)
            if name in self._limits:  # a discrete action has its values, and nothing between them
                limited = self.within(name, command)
                command = self._slew(name, limited, self._steps)
                if gently and name in gently:
                    command = np.where(gently[name], self._slew(name, limited, self._gentle), command)
                self.slewed += bool((command != limited).any())
            out[name] = command
        self.last = out
        return dict(out)

    def within(self, name: str, command: NDArray[np.float64]) -> NDArray[np.float64]:
        """The command of a continuous action within its range."""
        limited: NDArray[np.float64] = np.clip(command, *self._limits[name])
        self.clipped += bool((limited != command).any())
        return limited

    def toward_neutral(self, gently: bool, keep: bool = False) -> Commands:
        """One step of the way to the neutral commands, within max_rate, and within the ramp's rate if `gently`.

        keep: what `safety.keep` names stays where it is.
        """
        steps, kept = self._gentle if gently else self._steps, self._kept if keep else ()
        ends = {name: self.last[name] if name in kept else neutral for name, neutral in self._neutral.items()}
        self.last = {name: self._slew(name, end, steps) for name, end in ends.items()}
        return dict(self.last)

    @property
    def at_neutral(self) -> bool:
        """The last commands were the neutral ones."""
        return not self._away()

    @property
    def at_rest(self) -> bool:
        """The same, but for what `safety.keep` names."""
        return self._kept.issuperset(self._away())

    def _away(self) -> list[str]:
        return [name for name, neutral in self._neutral.items() if not np.array_equal(self.last[name], neutral)]

    def start(self, pose: Mapping[str, NDArray[Any]], keep: bool = False) -> None:
        """The robot is where these commands would hold it; rates count from there. Actions not named are neutral.

        keep: but for what `safety.keep` names, which stays where it is.
        """
        known = {name: self.last[name] for name in self._kept if keep} | dict(pose)
        self.last = {n: np.asarray(known.get(n, neutral), np.float64) for n, neutral in self._neutral.items()}

    def _slew(
        self, name: str, command: NDArray[np.float64], steps: Mapping[str, NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        step = steps.get(name)
        if step is None:
            return command
        slewed: NDArray[np.float64] = np.clip(command, self.last[name] - step, self.last[name] + step)
        return slewed
