"""How each topic that a robot is read from is listened to."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from robot_dreamer.onboard.observer import Observer
from ros_nodes.distro import SubscriptionEventCallbacks

_BEST = ReliabilityPolicy.BEST_EFFORT  # matches reliable publishers too
SENSORS = QoSProfile(depth=1, reliability=_BEST)
EVENTS = QoSProfile(depth=100, reliability=_BEST)  # of sensors the latest counts, of these all
PARTS = QoSProfile(depth=10, reliability=_BEST)  # several nodes may speak at one moment
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def qualities(observer: Observer, topic: str) -> tuple[QoSProfile, ...]:
    """The QoS of the subscriptions to a topic. A value that is held may have been said, latched, before we came; who
    does not latch is heard by the other one.
    """
    if topic in observer.judge.topics:
        return (EVENTS,)
    if topic in observer.held:
        return SENSORS, LATCHED
    return (PARTS if topic in observer.shared else SENSORS,)


def news(qos: QoSProfile) -> SubscriptionEventCallbacks:
    """What is said of a publisher that a subscription of this QoS never hears; nothing where another one hears it."""
    return SubscriptionEventCallbacks(use_default_callbacks=qos is not LATCHED)
