"""A person's side of a policy node: hears how it is, and says words to it, each at once and none behind another."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from ros_nodes.ask import STOP_YOURSELF, request_of
from ros_nodes.own_node import own_node, spinning

STOP = "e_stop"
_AGAIN = 0.25  # seconds until a stop that nobody has answered is called again
_PATIENCE = 5.0  # seconds for the answer to any other word
_SAID = 6  # answers that are kept

Part = tuple[int, str, dict[str, str]]
"""Level (0 well, 1 warning, 2 error), a line, counters: of one part of the node, as `/diagnostics` has it."""


class Pilot:
    """Listens and asks through a node that somebody else spins.

    `say` sends from the thread that calls it and waits for nothing: neither for the answer to an earlier word nor for
    whoever spins. A stop is called again until the policy node has answered, because a call that it was not yet, or no
    longer, there to hear is lost.

    Args:
      node: for subscription and clients.
      name: of the policy node, with its namespace, such as /arm1/policy.
      words: that may be said.

    Attributes:
      parts: of the policy node, by name; empty before it has spoken.
      heard: when it last spoke, by `clock`; None before.
      said: the last answers, the newest last: word, whether it was done, the node's words.
    """

    def __init__(
        self, node: Node, name: str, words: tuple[str, ...], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.parts: dict[str, Part] = {}
        self.heard: float | None = None
        self.said: deque[tuple[str, bool, str]] = deque(maxlen=_SAID)
        self._name, self._clock = name, clock
        self._waiting: dict[str, float] = {}  # since when, by word
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        for word in words:
            service, kind, _ = request_of(word, name)
            self._clients[word] = node.create_client(kind, service)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._hear, 10)
        node.create_timer(_AGAIN, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def unanswered(self) -> float | None:
        """Seconds since a stop was asked for that nobody has answered; None if there is none."""
        since = self._waiting.get(STOP)
        return None if since is None else self._clock() - since

    def say(self, word: str) -> None:
        """From any thread."""
        service, _, request = request_of(word, self._name)
        client = self._clients[word]
        if word != STOP and not client.service_is_ready():
            self.said.append((word, False, f"nobody offers {service}: is the policy node running, and called so?"))
            return
        with self._lock:
            self._waiting.setdefault(word, self._clock())
        self._send(word, request)

    def _send(self, word: str, request: Any) -> None:
        self._clients[word].call_async(request).add_done_callback(partial(self._answered, word))

    def _answered(self, word: str, future: Any) -> None:
        with self._lock:
            first = self._waiting.pop(word, None) is not None
        answer = future.result()
        if first or word != STOP:
            self.said.append((word, bool(answer.success), answer.message))

    def _look(self) -> None:
        """Again and again: what has waited too long."""
        now = self._clock()
        with self._lock:
            late = [word for word, since in self._waiting.items() if word != STOP and now - since > _PATIENCE]
            for word in late:
                del self._waiting[word]
            stop = STOP in self._waiting
        for word in late:
            self.said.append((word, False, f"no answer within {_PATIENCE:g} s; {STOP_YOURSELF}"))
        if stop:
            self._send(STOP, request_of(STOP, self._name)[2])

    def _hear(self, message: Any) -> None:
        prefix = f"{self._name.lstrip('/')}: "
        parts = {
            status.name.removeprefix(prefix): (
                int.from_bytes(status.level, "little"),
                str(status.message),
                {value.key: value.value for value in status.values},
            )
            for status in message.status
            if status.name.startswith(prefix)
        }
        if parts:
            self.parts, self.heard = parts, self._clock()


@contextmanager
def piloting(name: str, words: tuple[str, ...]) -> Iterator[Pilot]:
    """A pilot with a node and a thread of its own. name: of the policy node, with its namespace."""
    with own_node("robot_dreamer_pilot") as (node, executor):
        pilot = Pilot(node, name, words)
        with spinning(executor, "pilot", _go_on):
            yield pilot


def _go_on(error: Exception) -> bool:
    if isinstance(error, ExternalShutdownException):
        return False
    raise error
