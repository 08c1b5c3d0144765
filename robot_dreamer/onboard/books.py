"""The books of an episode: which observation, reward and action make a row. The same on a robot, in training without
ROS 2 and for bags.

Alignment: row t holds observation_t, the reward that arrived with it, and the action executed after it. An episode of
N actions has N+1 rows; the last row's action is zero. A time limit is is_last without is_terminal. The first row's
reward is 0.

    sample = books.judge(sample)             # history; reward and terminal where the spec has expressions for them
    is_first = books.open(sample)            # row t: its observation and reward
    if books.over:
        row = books.close(version)           # the episode's last one
    else:
        books.act(action, requested, version)
        row = books.applied(stamp)           # the action was executed
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_dreamer.onboard.sample import Sample
from robot_dreamer.record import Arrays, StepRecord
from robot_dreamer.spec import RobotSpec


@dataclass(slots=True)
class _Row:
    """A row that is not whole yet; without an action before `act`."""

    sample: Sample
    reward: float
    is_first: bool
    action: Arrays | None = None
    requested: Arrays | None = None
    version: int = 0


class EpisodeBooks:
    """Numbers rows and episodes, knows first, last and executed. One thread.

    Args:
      robot, boot: identity of the rows.

    Attributes:
      running: an episode is.
      length: of the running or the last episode, in actions.
      total: its rewards.
      executed: the last executed actions, normalised, by name; zero at the beginning of an episode.
    """

    def __init__(self, spec: RobotSpec, robot: str, boot: str) -> None:
        self.running = False
        self.length = 0
        self.total = 0.0
        self._zero: Arrays = {a.name: a.zero() for a in spec.actions}
        self.executed = self._zero
        self._robot = robot
        self._boot = boot
        self._actions = spec.actions
        self._expressions = spec.expressions
        self._memory = [(o.name, o.history) for o in spec.observations if o.history > 1]
        self._judged: Arrays = {}  # what the expressions saw in the row before
        self._past: dict[str, deque[NDArray[Any]]] = {}
        self._seen = [o.name for o in spec.observations]
        self._limit = spec.episode.max_steps
        self._episode = -1
        self._sequence = 0
        self._row: _Row | None = None

    @property
    def episode(self) -> int:
        """Number of the running or the last episode; -1 before the first."""
        return self._episode

    @property
    def observed(self) -> bool:
        """A row is open: observed, and not whole yet."""
        return self._row is not None

    @property
    def acted(self) -> bool:
        """The open row has its action, which waits to be executed."""
        return self._row is not None and self._row.action is not None

    @property
    def over(self) -> bool:
        """The open row is the episode's last one: the task has ended, or the time."""
        sample = self._open_row().sample
        return sample.terminal or sample.last or self.length >= self._limit

    def judge(self, sample: Sample) -> Sample:
        """The sample with the history of its observations, and with what the spec's expressions say of it: its reward,
        and whether it is terminal. Once per tick.

        The action that they see is the executed one that led here; before an episode's first it is the zero action.
        Before that, as far as the history knows, the robot stood still.

        Raises:
          ExpressionFault: an expression has no value.
        """
        if self._memory:
            sample = replace(sample, observation=sample.observation | self._remembered(sample.observation))
        if not self._expressions:
            return sample
        executed = self.executed if self.running else self._zero
        values = sample.observation | {a.name: a.to_command(executed[a.name]) for a in self._actions}
        before, self._judged = self._judged if self.running else values, values
        found = {name: expression(values, before) for name, expression in self._expressions.items()}
        terminal = bool(found.get("terminal", sample.terminal))
        return replace(sample, reward=found.get("reward", sample.reward), terminal=terminal)

    def open(self, sample: Sample) -> bool:
        """Begin a row, and an episode where none runs. Returns whether it is an episode's first one.

        Raises:
          RuntimeError: the row before it is still open.
        """
        if self._row is not None:
            raise RuntimeError("a row is still open: close, apply or abandon it first")
        is_first = not self.running
        if is_first:
            self.running = True
            self._episode += 1
            self.length, self.total, self.executed = 0, 0.0, self._zero
        reward = 0.0 if is_first else float(sample.reward)
        self.total += reward
        self._row = _Row(sample, reward, is_first)
        return is_first

    def act(self, action: Arrays, requested: Arrays, version: int) -> None:
        """Give the open row what is to be executed, what was asked for (both normalised, by name), and who asked."""
        row = self._open_row()
        row.action, row.requested, row.version = action, requested, version

    def applied(self, stamp: int) -> StepRecord:
        """The open row's action went out at `stamp`, ns on the clock of the samples: the row is whole.

        Raises:
          RuntimeError: there is no open row, or it has no action.
        """
        row = self._open_row()
        if row.action is None or row.requested is None:
            raise RuntimeError("the open row has no action: call act first")
        self.length += 1
        self.executed = row.action
        return self._write(row, row.action, row.requested, row.version, False, False, stamp)

    def close(self, version: int, terminal: bool | None = None) -> StepRecord:
        """The open row ends the episode: no action comes after it.

        Args:
          version: of the policy that acted last.
          terminal: the task has ended for good; None: as the sample says.
        """
        row = self._open_row()
        self.running = False
        ended = row.sample.terminal if terminal is None else terminal
        return self._write(row, self._zero, self._zero, version, True, ended, 0)

    def abandon(self) -> bool:
        """Cut the episode: its rows stay, but the open one, and the next is_first. Returns whether one was running."""
        was, self.running, self._row = self.running, False, None
        return was

    def _remembered(self, observation: Arrays) -> Arrays:
        for name, ticks in self._memory:
            now = observation[name]
            if self.running:
                self._past[name].append(now)
            else:
                self._past[name] = deque([now] * ticks, maxlen=ticks)
        return {name: np.concatenate(self._past[name]) for name, _ in self._memory}

    def _open_row(self) -> _Row:
        if self._row is None:
            raise RuntimeError("there is no open row: call open first")
        return self._row

    def _write(
        self, row: _Row, action: Arrays, requested: Arrays, version: int, last: bool, terminal: bool, stamp: int
    ) -> StepRecord:
        self._row = None
        self._sequence += 1
        return StepRecord(
            robot=self._robot,
            boot=self._boot,
            sequence=self._sequence - 1,
            episode=self._episode,
            observation={name: row.sample.observation[name] for name in self._seen},
            action=action,
            action_requested=requested,
            reward=row.reward,
            is_first=row.is_first,
            is_last=last,
            is_terminal=terminal,
            stamp_capture=row.sample.stamp,
            stamp_applied=stamp,
            policy_version=version,
            drawn=row.sample.drawn if row.is_first else {},
        )
