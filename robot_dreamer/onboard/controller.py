"""The controller: from samples to commands and rows (books.py). The same on a robot, in ROS simulation, and in
training and evaluation in one process.

    decision = controller.tick(sample)      # row t is open
    send(decision.command)
    controller.applied(stamp)               # row t is recorded
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.books import EpisodeBooks
from robot_dreamer.onboard.guard import Fault, Guard
from robot_dreamer.onboard.limits import Commands, Masks
from robot_dreamer.onboard.low_pass import CommandLowPass
from robot_dreamer.onboard.noise import NoiseSource
from robot_dreamer.onboard.policy import ActingPolicy, PolicyFault, PolicyOutput
from robot_dreamer.onboard.rulings import Rulings
from robot_dreamer.onboard.sample import Decision, Sample
from robot_dreamer.onboard.slot import PolicySlot
from robot_dreamer.onboard.stages import StageTimes
from robot_dreamer.record import BY_PERSON, INTERVENTION, TAKEN_OVER, Arrays, StepRecord, reward_problem
from robot_dreamer.spec import ExpressionFault, RobotSpec

__all__ = ["Controller", "Decision", "Sample"]


class Controller:
    """Filter, act, guard, and have the books of the episode kept. Not thread-safe: one thread ticks.

    Args:
      slot: holds the policy; swaps happen at the beginning of a tick.
      robot, boot: identity of the rows.
      record: takes each finished row; must not wait. None: nobody wants them.
      deterministic: no action noise.
      seed: of the policy's noise.
      guard: default: `Guard(spec)`.

    Attributes:
      steps, episodes, abandoned: actions executed, episodes finished, episodes cut.
      clipped: actions that the policy asked for outside [-1, 1].
      last_return, last_length: of the last finished episode (length in actions); NaN and 0 before it.
      interventions: actions that a person gave.
      refused: refused samples by kind; last_refusal says why the last one was.
      seen, output: observation and result of the last policy step, for its monitors; None before the first.
      rulings: what a person says of the running episode.
      stages: times of inference, guard and recording; whoever drives the controller begins it and adds the others.
    """

    def __init__(
        self,
        spec: RobotSpec,
        slot: PolicySlot,
        *,
        robot: str,
        boot: str,
        record: Callable[[StepRecord], None] | None,
        deterministic: bool = False,
        seed: int = 0,
        guard: Guard | None = None,
    ) -> None:
        self.guard = guard or Guard(spec)
        self.steps = 0
        self.episodes = 0
        self.abandoned = 0
        self.clipped = 0
        self.last_return = math.nan
        self.last_length = 0
        self.interventions = 0
        self.refused: Counter[str] = Counter()
        self.last_refusal = ""
        self.output: PolicyOutput | None = None
        self.seen: Arrays | None = None
        self.stages = StageTimes()
        self.rulings = Rulings(spec)
        self._spec = spec
        self._slot = slot
        self._books = EpisodeBooks(spec, robot, boot)
        self._record = record
        self._noise = NoiseSource(seed, deterministic)
        self._filter = CommandLowPass(spec.actions, spec.rate)
        self._ranges = {o.name: o.limits for o in spec.observations if o.limits}
        self._possible = {o.name: o.limits for o in spec.quantities if o.limits}
        limits = {spec.safety.pose.get(a.name, ""): (np.asarray(a.low), np.asarray(a.high)) for a in spec.actions}
        self._places = {name: x for name, x in limits.items() if name and name not in self._possible}
        self._expected = [(o.name, o.reading_shape, np.dtype(o.dtype)) for o in spec.quantities]
        self._pilot: ActingPolicy | None = None  # who has driven the episode alone so far

    @property
    def deterministic(self) -> bool:
        """No action noise; may be changed at any time, from any thread."""
        return self._noise.deterministic

    @deterministic.setter
    def deterministic(self, value: bool) -> None:
        self._noise.deterministic = value

    @property
    def running(self) -> bool:
        """An episode is running."""
        return self._books.running

    @property
    def episode(self) -> int:
        """Number of the running or the last episode; -1 before the first."""
        return self._books.episode

    @property
    def total(self) -> float:
        """Rewards of the running or the last episode so far."""
        return self._books.total

    @property
    def length(self) -> int:
        """Actions of the running or the last episode so far."""
        return self._books.length

    def tick(
        self, sample: Sample, person: Mapping[str, NDArray[Any]] | None = None, gently: Masks | None = None
    ) -> Decision:
        """One control tick. Begins an episode when none runs.

        A refused sample cuts the episode, because a row and its reward are missing. A sample that is terminal although
        no episode runs ends nothing and is not recorded. A fault ends the episode: as terminal, with this sample, if it
        is of the rules about the robot itself; otherwise it is cut.

        Args:
          sample: what the robot says.
          person: commands in units, by action name, that go out (within limits) instead of the policy's.
          gently: numbers of these that nobody gives now: they go no faster than the ramp to the safe pose.

        Raises:
          RuntimeError: the previous decision had a command, and neither `applied` nor `abandon` was called after it.
        """
        books = self._books
        if books.acted:
            raise RuntimeError("tick() again before applied() or abandon()")
        fault = self.guard.fault
        if fault is not None:
            return self._halt(fault)
        kind, problem = self._problem(sample)
        if problem:
            return self.refuse(kind, problem)
        try:
            sample = self.rulings.apply(books.judge(sample), books.running)
        except ExpressionFault as error:
            return self.refuse("reward", str(error))
        problem = reward_problem(sample.reward)
        if problem:
            return self.refuse("reward", problem)
        if not _within(sample.reward, self._spec.reward_range):
            low, high = self._spec.reward_range
            return self.refuse("reward_range", f"reward: expected {low:g} to {high:g}, found {sample.reward:g}")
        if not books.running and sample.terminal:
            return Decision(None, is_last=True)
        is_first = books.open(sample)
        if is_first:
            self._begin()
        fault = self.guard.inspect(sample.observation)
        if fault is not None:
            if fault.terminal and not is_first:
                self._end(terminal=True)
            return self._halt(fault)
        if books.over:
            return self._end()
        self.stages.done("guard")
        try:
            version, output = self._act(sample, is_first)
        except PolicyFault as error:
            return self._halt(self.guard.latch("policy", str(error)))
        finally:
            self.stages.done("infer")
        self.seen, self.output = sample.observation, output
        if not is_first and (fault := self.guard.judge_surprise(output.surprise, version)) is not None:
            return self._halt(fault)
        fault = self.guard.inspect_action(output.action)
        if fault is not None:
            return self._halt(fault)
        requested = {a.name: self._normalised(output.action[a.name], a.discrete) for a in self._spec.actions}
        wanted = {a.name: a.to_command(requested[a.name]) for a in self._spec.actions}
        filtered = self._filter.step(wanted | self._legal(person) if person else wanted)
        command, fault = self.guard.check(filtered, gently)
        if command is None or fault is not None:
            self.abandon()
            return Decision(command, fault=fault)
        action: Arrays = {}
        for spec in self._spec.actions:
            same = np.array_equal(command[spec.name], wanted[spec.name])  # then no rounding on the way back
            action[spec.name] = requested[spec.name] if same else spec.from_command(command[spec.name])
        if person:
            idle = gently or {}
            gave = any(name not in idle or not idle[name].all() for name in person)
            version = INTERVENTION if gave else TAKEN_OVER
        books.act(action, output.action, version)
        self.stages.done("guard")
        return Decision(command, False, action, output.action, bool(person), output)

    def applied(self, stamp: int) -> None:
        """The command went out at `stamp`, ns on the clock of the samples: record the open row.

        Raises:
          RuntimeError: there is no open row.
        """
        if not self._books.acted:
            raise RuntimeError("applied() without a command from tick()")
        row = self._books.applied(stamp)
        self.steps += 1
        if row.policy_version in BY_PERSON:
            self.interventions += row.policy_version == INTERVENTION
            self._pilot = None
        self._write(row)
        self.stages.done("record")

    def abandon(self) -> None:
        """Cut the episode (robot lost, reset, fault). Its rows stay; the next row is_first. Harmless when none runs."""
        self.abandoned += self._books.abandon()

    def refuse(self, kind: str, problem: str) -> Decision:
        """Refuse a sample that cannot even be assembled: counted under `kind`, the episode is cut."""
        self.last_refusal = problem
        self.refused[kind] += 1
        self.abandon()
        return Decision(None, refused=problem, kind=kind)

    def impossible(self, observation: Mapping[str, NDArray[Any]]) -> str:
        """Which quantity, watched ones too, shows what its range says cannot be; or, without a range, which pose is
        farther outside of its command's limits than they are apart, as in another unit or a turn away. Empty if none.
        """
        for name, limits in self._possible.items():
            if name in observation and not _within(observation[name], limits):
                return _beyond(name, limits, observation[name])
        for name, (low, high) in self._places.items():
            found = observation[name]
            if (found < 2 * low - high).any() or (found > 2 * high - low).any():
                text = f"observation {name}: expected about {low} to {high}, the command's limits, found {found}"
                return f"{text}; mend its zero or unit, or name in safety.pose a watched one with the joints' range"
        return ""

    def _problem(self, sample: Sample) -> tuple[str, str]:
        for name, shape, dtype in self._expected:
            array = sample.observation.get(name)
            if array is None:
                return "missing", f"observation {name} is missing"
            if array.shape != shape or array.dtype != dtype:
                found = f"{array.dtype}{list(array.shape)}"
                return "layout", f"observation {name}: expected {dtype}{list(shape)}, found {found}"
            if dtype.kind == "f" and not np.isfinite(array).all():
                return "not_finite", f"observation {name}: expected finite numbers, found {array}"
            if name in self._ranges and not _within(array, self._ranges[name]):
                return "observation_range", _beyond(name, self._ranges[name], array)
        return "", ""

    def _normalised(self, action: NDArray[Any], discrete: bool) -> NDArray[Any]:
        """Within [-1, 1], as the command will be."""
        if discrete:
            return action
        clipped: NDArray[Any] = np.clip(action, -1.0, 1.0)
        self.clipped += int((clipped != action).any())
        return clipped

    def _begin(self) -> None:
        self.guard.begin()
        self._filter.reset(self.guard.limits.last)
        self._slot.exchange()
        self._slot.current.reset()
        self._pilot = self._slot.current

    def _act(self, sample: Sample, is_first: bool) -> tuple[int, PolicyOutput]:
        policy, fresh = self._slot.exchange()
        while True:
            started = time.perf_counter()
            try:
                output = policy.step(sample.observation, self._books.executed, is_first or fresh, self._noise)
            except PolicyFault as error:
                turn = self._slot.rollback(str(error))
                if turn is None:
                    raise
                policy, fresh = turn
            else:
                self._slot.probation.stepped(time.perf_counter() - started)
                if policy is not self._pilot:
                    self._pilot = None
                return policy.version, output

    def _legal(self, person: Mapping[str, NDArray[Any]]) -> Commands:
        """A discrete action has its values, and nothing between them: the nearest one. Others are within their range
        before they are filtered: a filter remembers a wrong number long after it is taken back."""
        discrete, limits = {a.name: a for a in self._spec.actions if a.discrete}, self.guard.limits
        return {
            n: discrete[n].to_command(discrete[n].from_command(c)) if n in discrete else limits.within(n, c)
            for n, c in person.items()
        }

    def _end(self, terminal: bool | None = None) -> Decision:
        row = self._books.close(self._slot.current.version, terminal)
        self.episodes += 1
        self.last_return, self.last_length = self._books.total, self._books.length
        if self._pilot is self._slot.current:
            self._slot.probation.finished(self.last_return)
        self._write(row)
        return Decision(None, is_last=True)

    def _halt(self, fault: Fault) -> Decision:
        """The reaction to a fault, which another thread may have cleared meanwhile."""
        self.abandon()
        return Decision(self.guard.react(fault), fault=fault)

    def _write(self, row: StepRecord) -> None:
        if self._record is not None:
            self._record(row)


def _beyond(name: str, limits: tuple[float, ...], found: NDArray[Any]) -> str:
    return f"observation {name}: expected {limits[0]:g} to {limits[1]:g}, found {found}"


def _within(numbers: NDArray[Any] | float, bounds: tuple[float, ...]) -> bool:
    """Whether all numbers lie in the range that the spec states, which is empty where it states none."""
    return not bounds or bool(np.all((numbers >= bounds[0]) & (numbers <= bounds[1])))
