"""A second node of the same process with a thread of its own: what must be heard while the first one works or waits.

A node's callbacks run one after the other. While one of them proves a bundle, leads the robot to the safe pose or
flushes the link, nothing else of that node is heard. What a person says to stop the robot therefore does not go there.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from ros_nodes.distro import SubscriptionEventCallbacks

_SPIN = 0.1  # seconds until it is seen that all is over
_END = 5.0  # seconds that a callback in progress may still take
_WAYS = (
    (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE),  # matches every publisher, but loses
    (ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE),
    (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL),  # has what was said before
)


class Companion:
    """Hidden from `ros2 node list`. It hears from the beginning until `destroy`.

    SingleThreadedExecutor, because EventsExecutor of rclpy 9 cannot tell who has sent a message.

    Args:
      node: whose names it speaks; topics and services are given as that node's.
      failed: told what a callback raised; the next one is served all the same.

    Attributes:
      node: for services and timers.
    """

    def __init__(self, node: Node, purpose: str, failed: Callable[[str], object]) -> None:
        self._owner = node
        self._failed = failed
        self.node = Node(
            f"_{node.get_name()}_{purpose}",
            context=node.context,
            namespace=node.get_namespace(),
            use_global_arguments=False,  # `-r __node:=name` would name both nodes so
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self.node)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=purpose, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def hear(self, kind: type, topic: str, receive: Callable[[bytes | None, int, Any], None]) -> None:
        """Each message of a topic, by whatever publisher; often twice or more, for there is a subscription for each way
        of publishing: nothing is overwritten, and reliable publishers are served reliably.

        Args:
          receive: called with the publisher (None: the middleware does not tell), the time of publishing in its
            clock's ns, and the message.
        """

        def take(message: Any, info: Any) -> None:
            gid = info.get("publisher_gid")
            receive(bytes(gid["data"]) if gid else None, int(info["source_timestamp"]), message)

        for reliability, durability in _WAYS:
            qos = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=reliability, durability=durability)
            unmatched = SubscriptionEventCallbacks(use_default_callbacks=False)  # one of them never matches: no news
            name = self._owner.resolve_topic_name(topic)
            self.node.create_subscription(kind, name, take, qos, event_callbacks=unmatched)

    def serve(self, kind: type, service: str, answer: Callable[[Any, Any], Any]) -> None:
        self.node.create_service(kind, self._owner.resolve_service_name(service), answer)

    def repeat(self, seconds: float, work: Callable[[], None]) -> None:
        """Call `work` again and again, by the steady clock: a node's own one may be simulated."""
        self.node.create_timer(seconds, work, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_END)
        self._executor.shutdown(timeout_sec=_END)
        self.node.destroy_node()

    def _run(self) -> None:
        while not self._stop.is_set() and self.node.context.ok():
            try:
                self._executor.spin_once(timeout_sec=_SPIN)
            except ExternalShutdownException:
                return
            except Exception:  # whatever it was, whoever speaks next must be heard
                if self.node.context.ok():
                    self._failed(traceback.format_exc())
