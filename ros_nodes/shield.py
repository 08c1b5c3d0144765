"""A callback that raises costs its message, not the node: rclpy ends the executor, and with it the process, otherwise.

One place for all of a node's subscriptions, services, timers and answers, whoever makes them: what was raised is
counted under the topic, service or timer, said, and the next message is served.
"""

from __future__ import annotations

import functools
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.lifecycle import LifecycleNode

_Answer = TypeVar("_Answer")
_QUIET = 5.0  # seconds between two words about it


class ShieldedNode(LifecycleNode):
    """A managed node none of whose callbacks ends it.

    Attributes:
      failed: callbacks that raised, by the name of their topic, service or timer.
      last_failure: what the last one raised; empty before.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.failed: Counter[str] = Counter()  # before the node makes services of its own
        self.last_failure = ""
        super().__init__(*arguments, **options)

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, *arguments: Any, **options: Any) -> Any:
        return super().create_subscription(msg_type, topic, self.shield(topic, callback), *arguments, **options)

    def create_service(self, srv_type: Any, srv_name: str, callback: Any, *arguments: Any, **options: Any) -> Any:
        @functools.wraps(callback)
        def answer(request: Any, response: Any) -> Any:
            given = self.shield(srv_name, callback)(request, response)
            if given is None:
                given = response
                if hasattr(response, "success"):
                    response.success, response.message = False, f"{srv_name} failed: {self.last_failure}"
            return given

        return super().create_service(srv_type, srv_name, answer, *arguments, **options)

    def create_timer(self, timer_period_sec: float, callback: Any, *arguments: Any, **options: Any) -> Any:
        name = f"timer {getattr(callback, '__name__', 'without a name').strip('_')}"
        return super().create_timer(timer_period_sec, self.shield(name, callback), *arguments, **options)

    def shield(self, what: str, callback: Callable[..., _Answer]) -> Callable[..., _Answer | None]:
        """A callback that returns None where `callback` raises."""

        @functools.wraps(callback)
        def shielded(*given: Any, **named: Any) -> _Answer | None:
            try:
                return callback(*given, **named)
            except Exception as error:
                self.failed[what] += 1
                self.last_failure = f"{type(error).__name__}: {str(error)[:200]}"
                text = f"{what}: a callback failed, its message is lost ({self.failed[what]} so far):\n"
                self.get_logger().error(text + traceback.format_exc()[-2000:], throttle_duration_sec=_QUIET)
                return None

        return shielded
