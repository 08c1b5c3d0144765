"""What lies elsewhere in other ROS 2 releases, from Humble on. No other module imports these names from rclpy."""

from __future__ import annotations

from typing import Any

from rclpy.executors import Executor, SingleThreadedExecutor

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

__all__ = ["PublisherEventCallbacks", "SubscriptionEventCallbacks", "make_executor"]


def make_executor(node: Any) -> Executor:
    """An executor that spins `node`: EventsExecutor, which takes a third to half of the time, where there is one.

    Never let it wait without a limit: its spin() may hang, spin_once(timeout_sec) does not.
    """
    try:
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError:  # Humble
        executor: Executor = SingleThreadedExecutor(context=node.context)
    else:
        executor = EventsExecutor(context=node.context)
    executor.add_node(node)
    return executor
