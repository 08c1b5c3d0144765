"""Time of simulated robots: the policy node follows its own robot's clock, also beside others in one domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from robot_dreamer.processes import Options, Process, processes
from ros_nodes.policy_node import PolicyNode
from tests.ros.conftest import Ros


def policy_process(namespace: str) -> Process:
    return processes(Options("cartpole", Path("runs/x"), learner="", namespace=namespace))[-1]


def ros_arguments(process: Process) -> list[str]:
    line = process.command("python")
    return line[line.index("--ros-args") :]


def test_robots_in_one_domain_have_clocks_of_their_own(ros: Ros) -> None:
    policies, publishers = {}, {}
    for namespace, seconds in (("left", 100), ("right", 200)):
        arguments = ros_arguments(policy_process(namespace))
        policies[seconds] = ros.add(PolicyNode(context=ros.context, cli_args=arguments))
        robot: Any = ros.add(Node("sim_robot", context=ros.context, cli_args=arguments))
        publishers[seconds] = robot.create_publisher(Clock, "/clock", 1)  # as the simulated robot does

    def tick() -> None:
        for seconds, publisher in publishers.items():
            publisher.publish(Clock(clock=Time(sec=seconds)))

    def times() -> dict[int, int]:
        return {seconds: node.get_clock().now().nanoseconds for seconds, node in policies.items()}

    ros.until(lambda: all(times().values()), "both clocks", tick)
    for _ in range(20):
        tick()
        ros.spin(0.01)
        assert times() == {100: 100 * 10**9, 200: 200 * 10**9}
