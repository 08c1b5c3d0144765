"""Reward and terminal where they come from topics: events, not readings. Each of their messages counts once, in
whatever order and with whatever stamp: rewards add up, and a terminal that was up in one message since the last sample
ends the episode.

One thread adds and one takes; they exchange references, never locks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.onboard.messages import make_reader
from robot_dreamer.record import reward_problem
from robot_dreamer.spec import RobotSpec, Source

_MOST = 10_000  # events between two samples


class Judge:
    """The queue of what rewards and ends.

    Args:
      need_reward: False: a reward that cannot be used counts as 0, for a robot that does not learn.

    Attributes:
      sources: of reward and terminal; an expression has none (EpisodeBooks.judge).
      topics: theirs.
      lost: events that came while nobody took samples, and were too many to keep.
      unused: rewards that counted as 0 because they could not be used.
      problem: why the last of these could not; empty before the first.
    """

    def __init__(self, spec: RobotSpec, need_reward: bool = True) -> None:
        self.sources = list(spec.signals.values())
        self.topics = {source.topic for source in self.sources}
        self.lost = 0
        self.unused = 0
        self.problem = ""
        self._need_reward = need_reward
        self._reward, self._terminal = (spec.signals.get(name) for name in ("reward", "terminal"))
        self._readers = {name: make_reader(source) for name, source in spec.signals.items()}
        self._events: deque[tuple[str, Any]] = deque(maxlen=_MOST)  # append and popleft are atomic
        self._up = False  # what the last event said of terminal

    def add(self, topic: str, message: Any) -> None:
        """An event."""
        self.lost += len(self._events) == _MOST
        self._events.append((topic, message))

    def clear(self) -> None:
        """Only what is added from now on counts."""
        self._events.clear()
        self._up = False

    def skip(self) -> None:
        """No episode runs: of what has come, the last message of each topic is all that one begins by. What was up and
        is no more ends nothing; rewards do not add up, be it of minutes, and the last tells whether they can be used.
        """
        last = dict(self._events.popleft() for _ in range(len(self._events)))
        self._events.extendleft(reversed(last.items()))

    def take(self) -> tuple[float, bool]:
        """The sum of all rewards since the last call, and whether the task has ended since then.

        Raises:
          ObservationError: a message does not have what the spec expects of its topic. All events are taken then, too.
        """
        reward, ended = 0.0, False
        wrong: ObservationError | None = None
        while self._events:
            topic, message = self._events.popleft()
            try:
                if self._reward is not None and topic == self._reward.topic:
                    reward += self._reward_of(topic, message)
                if self._terminal is not None and topic == self._terminal.topic:
                    self._up = _read_flag(self._terminal, self._readers["terminal"], message)
                    ended = ended or self._up
            except ObservationError as error:
                wrong = wrong or error
        if wrong is not None:
            raise wrong
        if not self._need_reward and (problem := reward_problem(reward)):
            reward = self._not_used(problem)
        return reward, ended or self._up

    def _reward_of(self, topic: str, message: Any) -> float:
        try:
            reward = float(self._readers["reward"](message)[0])
        except ObservationError as error:
            if self._need_reward:
                raise
            return self._not_used(str(error))
        problem = "" if self._need_reward else reward_problem(reward)
        return self._not_used(f"topic {topic}: {problem}") if problem else reward

    def _not_used(self, problem: str) -> float:
        self.unused += 1
        self.problem = problem
        return 0.0


def _read_flag(source: Source, read: Callable[[Any], Any], message: Any) -> bool:
    value = float(read(message)[0])
    if value != value:
        raise ObservationError(f"topic {source.topic}: terminal: expected a number, found nan")
    return value > 0.5
