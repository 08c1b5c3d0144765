"""The rows of a store with another reward: what a robot lived through, seen as experience with another task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from msgspec.structs import replace as changed

from robot_dreamer.data.errors import DataError
from robot_dreamer.record import Arrays, StepRecord
from robot_dreamer.spec import RobotSpec
from robot_dreamer.spec.check import FieldError
from robot_dreamer.spec.expression import ExpressionFault
from robot_dreamer.spec.operator import Operator
from robot_dreamer.spec.signal import Signal
from robot_dreamer.succession import Succession

NEAR = 0.5  # of the way from the lowest to the highest possible reward: what rows should have come to
SHARE = 0.01  # of the rows: so many should have


def with_task(spec: RobotSpec, reward: str, terminal: str | None = None) -> RobotSpec:
    """The same robot with another reward, and another end of the task where one is given.

    Raises:
      DataError: an expression is wrong, or needs what is not in the rows: watched quantities are not recorded.
    """
    signals = {"reward": Signal(expression=reward)}
    if terminal is not None:
        signals["terminal"] = Signal(expression=terminal)
    try:
        new = changed(spec, **signals, reward_range=(), operator=Operator())  # a person's words were about the old task
    except FieldError as error:
        raise DataError(f"--{error.field.partition('.')[0]}: {error}") from error
    told = frozenset().union(*(new.expressions[name].names for name in signals))
    unseen = told & {o.name for o in spec.watched}
    if unseen:
        raise DataError(
            f"the rows hold what the policy saw ({', '.join(o.name for o in spec.observations)}), "
            f"not {', '.join(sorted(unseen))}, which the robot only watched"
        )
    return new


@dataclass
class Coverage:
    """What the rows of a store are worth under a reward.

    Attributes:
      rewards: of all rows but the first ones of episodes, whose reward is 0.
      returns: of the episodes that have all their rows.
      faults: rows for which an expression has no value, because a number is out of its range, or the row before, whose
        action or numbers it reads, was not recorded; they are left out.
      dropped: rows behind the end of the new task.
    """

    rewards: list[float] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    faults: int = 0
    dropped: int = 0

    def summary(self) -> str:
        """In words."""
        rewards, parts = np.asarray(self.rewards), []
        if rewards.size:
            low, middle, high = np.quantile(rewards, (0, 0.5, 1))
            parts.append(f"from {low:.3g} to {high:.3g}, median {middle:.3g}")
        if self.returns:
            parts.append(f"{len(self.returns)} episodes, the best with {max(self.returns):.4g}")
        if self.dropped:
            parts.append(f"{self.dropped} behind the end of the task left out")
        if self.faults:
            parts.append(f"{self.faults} for which it has no value left out")
        return "; ".join(parts) or "none"

    def warning(self, low: float, high: float) -> str:
        """Why these rows may not be enough to learn it from, "" if nothing speaks against it.

        Args:
          low, high: what the reward lies between, as far as the expression says.

        Raises:
          DataError: all rows have one and the same reward.
        """
        rewards = np.asarray(self.rewards)
        if not rewards.size or np.ptp(rewards) == 0:
            raise DataError(f"the new reward is the same in all {rewards.size} rows: there is nothing to learn from it")
        if not np.isfinite([low, high]).all():
            return ""
        best = float(np.quantile(rewards, 1 - SHARE))
        if best >= low + NEAR * (high - low):
            return ""
        return (
            f"the store hardly covers this task: {SHARE:.0%} of its rows have a reward above {best:.3g}, and "
            f"{high:.3g} is possible; a policy that leaves what the robot has seen is a guess"
        )


def relabelled(
    rows: Iterable[StepRecord], spec: RobotSpec, coverage: Coverage, anew: bool = False
) -> Iterator[StepRecord]:
    """The rows with reward and end as `spec` has them, in their order; counts in `coverage`.

    An episode that reaches the end of the new task is over there.

    anew: the end of the task is another one too: a row that was the end of the old task only stays its episode's last,
      as a cut. Otherwise ends stay, those that the guard made (a fall) and a person's too, which no expression tells.
    """
    books: dict[tuple[str, str], _Boot] = {}
    for row in rows:
        boot = books.setdefault((row.robot, row.boot), _Boot(spec, anew))
        boot.follow(row)
        if boot.over:
            coverage.dropped += 1
            continue
        try:
            yield boot.judge(row, coverage)
        except (ExpressionFault, _UnknownPast):
            coverage.faults += 1
            boot.leave_out(row)


def covered(rows: Iterable[StepRecord], spec: RobotSpec, anew: bool = False) -> Coverage:
    """What the rows are worth under the reward of `spec`; anew: see `relabelled`."""
    coverage = Coverage()
    for _ in relabelled(rows, spec, coverage, anew):
        pass
    return coverage


class _UnknownPast(Exception):
    """The expression reads the row before, or the action in it that led here, and that row is missing."""


class _Boot:
    """The rows of one boot: what the row before the next one showed and executed, and whether its episode is over.

    Rows that are left out behind the end of a task leave no gap; those that were missing already stay missing.
    """

    def __init__(self, spec: RobotSpec, anew: bool) -> None:
        self.over = False
        self._spec, self._anew = spec, anew
        self._zero: Arrays = {a.name: a.zero() for a in spec.actions}
        watched = {o.name for o in spec.watched}  # the rows have none of it; an old end that it tells stands in them
        self._expressions = {name: e for name, e in spec.expressions.items() if not e.names & watched}
        self._acts = any(e.names & self._zero.keys() for e in self._expressions.values())
        self._looks_back = any(e.looks_back for e in self._expressions.values())
        self._executed: Arrays | None = self._zero
        self._values: Arrays | None = None  # what the expressions saw in the row before
        self._total = 0.0
        self._succession = Succession()  # of the rows as they were recorded
        self._written = -1  # a sequence number

    def follow(self, row: StepRecord) -> None:
        """The next row as it was recorded."""
        self._succession.follow(row)
        if self._succession.missing:
            self._written, self._executed, self._values = self._written + 1, None, None
        if self._succession.begins:
            self.over, self._values, self._total = False, None, 0.0
            self._executed = self._zero if row.is_first else None

    def leave_out(self, row: StepRecord) -> None:
        """Nothing is known of what this row is worth: it leaves a gap."""
        self._written, self._executed = self._written + 1, row.action
        self._succession.leave_out()

    def judge(self, row: StepRecord, coverage: Coverage) -> StepRecord:
        spec = self._spec
        if self._executed is None and self._acts:
            raise _UnknownPast
        executed = self._executed or self._zero
        values = row.observation | {a.name: a.to_command(executed[a.name]) for a in spec.actions}
        before, self._values = values if row.is_first else self._values, values
        if before is None and self._looks_back:
            raise _UnknownPast
        found = {name: expression(values, before or values) for name, expression in self._expressions.items()}
        reward = 0.0 if row.is_first else found["reward"]
        terminal = bool(found.get("terminal", False)) or (row.is_terminal and not self._anew)
        last = row.is_last or terminal
        self._total += reward
        if not row.is_first:
            coverage.rewards.append(reward)
        if last and self._succession.whole:
            coverage.returns.append(self._total)
        self.over, self._executed = last, row.action
        action = self._zero if last else row.action
        asked = self._zero if last else row.action_requested
        self._written += 1
        return replace(
            row,
            sequence=self._written,
            action=action,
            action_requested=asked,
            reward=reward,
            is_last=last,
            is_terminal=terminal,
            stamp_applied=0 if last else row.stamp_applied,
        )
