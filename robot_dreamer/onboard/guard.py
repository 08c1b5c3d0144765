"""The guard: the last word on every command, whatever the policy says. On by default.

  command outside its limits, or too fast    clipped, slewed, counted
  anything else that is wrong                a fault, which latches: the robot gets the reaction of the rule
                                             (robot_dreamer/spec/safety.py) and no policy, until a person clears it

Rules about commands are here, those about the robot in rules.py. Faults may be latched and cleared in any thread,
without a lock: there is one cell, the first fault takes it, and whoever acts on a fault reads it once. A person's stop
takes it from every other rule: what a gentler reaction is doing to the robot ends when somebody presses.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.limits import CommandLimits, Commands, Masks
from robot_dreamer.onboard.rules import DeadlineRule, LimitRule, SurpriseRule, TiltRule
from robot_dreamer.onboard.stillness import Stillness
from robot_dreamer.spec import RobotSpec
from robot_dreamer.spec.safety import TERMINAL_RULES, Reaction, Rule

__all__ = ["Checked", "Commands", "Fault", "Guard"]

_SETTLE = 2.0  # seconds that the way to neutral may take at least when all ends


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """Why the guard latched. Two faults are never the same one."""

    rule: Rule
    reason: str
    reaction: Reaction

    @property
    def terminal(self) -> bool:
        """The robot did it to itself: the episode ends as terminal."""
        return self.rule in TERMINAL_RULES

    @property
    def obeyed(self) -> bool:
        """The low level shall obey what the reaction sends: the heartbeat goes on."""
        return self.reaction in ("ramp", "hold")

    def __str__(self) -> str:
        return f"{self.rule}: {self.reason}"


class Checked(NamedTuple):
    """Commands that may go out (None: nothing may), and the fault that they are the reaction to, if any."""

    commands: Commands | None
    fault: Fault | None


class Guard:
    """One instance per robot. `latch`, `clear` and `fault` may be used in any thread, the rest in the one that ticks.

    Attributes:
      faults: how often it latched, by rule.
      latest: the fault that latched last, cleared or not; None before the first.
      stillness: how long each quantity has stood still while commands changed.
      limits: what commands may be; counts the clipped and the slewed.
    """

    def __init__(self, spec: RobotSpec) -> None:
        safety = spec.safety
        self.faults: Counter[Rule] = Counter()
        self.latest: Fault | None = None
        self.limits = CommandLimits(spec)
        self.stillness = Stillness(spec)
        self._safety = safety
        self._period = spec.period
        self._settle = max(_SETTLE, safety.ramp_seconds + 1.0)
        self._cell: dict[str, Fault] = {}  # setdefault and pop are atomic
        quantities = {o.name: o for o in spec.quantities}
        self._tilt = TiltRule(safety.tilt, spec.rate) if safety.tilt else None
        self._limits = [
            LimitRule(x, quantities[x.observation].source.names, quantities[x.observation].unit, spec.rate)
            for x in safety.limits
        ]
        self._deadline = DeadlineRule(safety.missed_deadlines)
        self._surprise = SurpriseRule(safety.surprise, spec.rate) if safety.surprise else None

    @property
    def fault(self) -> Fault | None:
        """What has latched; None while nothing has."""
        return self._cell.get("fault")

    @property
    def surprise_threshold(self) -> float:
        """Nats; infinite while surprise is not judged."""
        return self._surprise.threshold if self._surprise else math.inf

    def latch(self, rule: Rule, reason: str) -> Fault:
        """Fault until `clear`; the first one stays, but for `e_stop`. Returns the one that is latched."""
        fault = Fault(rule, reason, self._safety.reaction(rule))
        latched = self._cell.setdefault("fault", fault)
        if rule == "e_stop" and latched.rule != "e_stop":
            latched = self._cell["fault"] = fault
        if latched is fault:
            self.latest = fault
            self.faults[rule] += 1
        return latched

    def clear(self) -> Fault | None:
        """A person has looked at it. Returns what was latched."""
        return self._cell.pop("fault", None)

    def check(self, commands: Mapping[str, NDArray[Any]], gently: Masks | None = None) -> Checked:
        """What may go out instead of `commands`; gently: see CommandLimits. Call it once for each set that is sent."""
        fault = self.fault or self.inspect_action(commands)
        if fault is None:
            return Checked(self.limits.apply(commands, gently), None)
        return Checked(self.react(fault), fault)

    def inspect_action(self, action: Mapping[str, NDArray[Any]]) -> Fault | None:
        """Look at what a policy wants or a command says: numbers that are not finite mean nothing, clipped or not."""
        for name, numbers in action.items():
            if not np.isfinite(numbers).all():
                return self.latch("command", f"{name} is not finite: {numbers}")
        return None

    def react(self, fault: Fault) -> Commands | None:
        """The commands of a fault's reaction for this tick; None: send nothing."""
        if fault.reaction == "damp":
            return None
        if fault.reaction == "hold":
            return dict(self.limits.last)
        return self.limits.toward_neutral(gently=fault.reaction == "ramp", keep=True)

    def neutral(self) -> Commands:
        """One step of the ramp to the safe pose; the safe pose itself once it is reached."""
        return self.limits.toward_neutral(gently=True)

    def inspect(self, observation: Mapping[str, NDArray[Any]]) -> Fault | None:
        """Look at the robot itself: tilt, measured limits, and whether its sensors still see it."""
        self.stillness.look(observation, self.limits.last)
        if self._tilt is not None and (problem := self._tilt.check(observation)):
            return self.latch("tilt", problem)
        for rule in self._limits:
            if problem := rule.check(observation):
                return self.latch("limit", problem)
        for frozen in self._safety.frozens:
            still = self.stillness.seconds[frozen.observation]
            if still >= frozen.seconds:
                self.stillness.seconds[frozen.observation] = 0.0  # who clears it must be able to move the robot
                text = f"{frozen.observation} has not changed for {still:.3g} s of changing commands"
                return self.latch("frozen", f"{text}, allowed {frozen.seconds:g} s")
        return None

    def judge_surprise(self, surprise: float, version: int) -> Fault | None:
        """`surprise`: nats, of the policy `version`. Not for first rows, which surprise every model."""
        problem = self._surprise.check(surprise, version) if self._surprise else ""
        return self.latch("surprise", problem) if problem else None

    def judge_deadline(self, missed: int) -> Fault | None:
        """`missed`: deadlines skipped before this tick of an episode."""
        problem = self._deadline.check(missed)
        return self.latch("deadline", problem) if problem else None

    def begin(self) -> None:
        """An episode begins: what must last starts anew."""
        for rule in (self._tilt, *self._limits, self._deadline, self._surprise):
            if rule is not None:
                rule.reset()

    def settle(self, send: Callable[[Commands], None], sleep: Callable[[float], object] = time.sleep) -> bool:
        """Send the ramp to the safe pose, a command per period, until it is reached. A fault may latch on the way: from
        the next command on its reaction counts, hold and damp end the way.

        False if time was too short: 2 s, or a second more than the ramp takes.
        """
        for _ in range(math.ceil(self._settle / self._period)):
            fault = self.fault
            if fault is not None and fault.reaction in ("hold", "damp"):
                return True
            keep = fault is not None
            send(self.limits.toward_neutral(gently=fault is None or fault.reaction == "ramp", keep=keep))
            if self.limits.at_rest if keep else self.limits.at_neutral:
                return True
            sleep(self._period)
        return False
