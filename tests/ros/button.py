"""A button of the emergency stop as a process: `python -m tests.ros.button QOS` reads words from stdin.

A line of t and f is said letter by letter, back to back. It prints "ready" when a robot listens, and the line when it
is said. At the end of its input it goes.
"""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool

RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
WAYS = {"reliable": RELIABLE, "latched": LATCHED, "best_effort": BEST_EFFORT}
MATCHES = {"reliable": 2, "latched": 3, "best_effort": 1}  # subscriptions of one robot


def main() -> None:
    rclpy.init()
    node = rclpy.create_node("button")
    publisher = node.create_publisher(Bool, "e_stop", WAYS[sys.argv[1]])
    deadline = time.monotonic() + 30
    while publisher.get_subscription_count() < MATCHES[sys.argv[1]]:
        assert time.monotonic() < deadline, "nobody listens"
        time.sleep(0.01)
    print("ready", flush=True)
    for line in sys.stdin:
        for letter in line.strip():
            publisher.publish(Bool(data=letter == "t"))
        print(line, end="", flush=True)
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
