"""A policy node that dies, or says so, leaves no robot that goes on with its last command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")

import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool, Float64MultiArray

from robot_dreamer.spec import ROBOTS_DIRECTORY
from sim.simulated_robot import SimulatedRobot
from sim.watchdog import Watchdog
from tests.ros.conftest import Ros
from tests.ros.sim_bench import Bench
from tests.waiting import until


@pytest.fixture
def robot(ros_domain: int) -> Iterator[SimulatedRobot]:
    """The cart-pole in real time with a watchdog, in a thread of its own."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain, signal_handler_options=SignalHandlerOptions.NO)
    overrides = [Parameter("clock", value="realtime"), Parameter("watchdog", value=0.5)]
    node = Node("sim_robot", context=context, parameter_overrides=overrides)
    robot = SimulatedRobot(node)
    stop = threading.Event()
    thread = threading.Thread(target=robot.run, args=(stop.is_set,))
    thread.start()
    yield robot
    stop.set()
    thread.join(30)
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_a_killed_policy_node_leaves_a_neutral_robot(robot: SimulatedRobot, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ros_nodes.policy_node", "--ros-args", "-p", f"logdir:={tmp_path / 'link'}"]
    command += ["-p", "automatic:=true", "-p", "random_actions:=true"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
        try:
            until(lambda: np.any(robot._robot._control), "a command of the policy")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(30)
    unled = robot.counters.unled
    until(lambda: robot.counters.unled > unled + 3, "the watchdog")
    assert not robot._commands and not np.any(robot._robot._control)


def test_the_watchdog(ros: Ros) -> None:
    node = ros.add(Node("robot", context=ros.context))
    now = [0.0]
    watchdog = Watchdog(node, 0.5, clock=lambda: now[0])
    heart = node.create_publisher(Bool, "policy/heartbeat", 1)
    assert not watchdog.obey()
    ros.until(lambda: heart.publish(Bool(data=True)) or watchdog.obey(), "to obey")
    now[0] = 0.49
    assert watchdog.obey()
    now[0] = 0.51
    assert not watchdog.obey()
    ros.until(lambda: heart.publish(Bool(data=True)) or watchdog.obey(), "to obey again")
    ros.until(lambda: heart.publish(Bool(data=False)) or not watchdog.obey(), "to let go at once")
    assert Watchdog(node, 0.0).obey()


def test_what_a_robot_is_to_keep_stays_without_a_heartbeat(ros: Ros, tmp_path: Path) -> None:
    file, bench = tmp_path / "kept.yaml", Bench(ros)
    file.write_text((ROBOTS_DIRECTORY / "cartpole.yaml").read_text() + "safety: {keep: [force]}\n")
    try:
        robot = bench.robot(robot=str(file), clock="realtime", watchdog=0.5)
        driver = ros.add(Node("driver", context=ros.context))
        topic = driver.create_publisher(Float64MultiArray, "effort_controller/commands", 1)
        ros.until(lambda: topic.publish(Float64MultiArray(data=[0.5])) or robot._commands, "a command")
        unled = robot.counters.unled
        ros.until(lambda: robot.counters.unled > unled + 3, "the watchdog")
        assert robot._commands["force"].tolist() == [0.5]
    finally:
        bench.stop()
