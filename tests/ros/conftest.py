"""What the ROS tests stand on; their domain is locked against other processes, on this machine only."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from robot_dreamer.processes.ros_domain import own_domain


class Ros:
    """A context and an executor for the nodes of one test."""

    def __init__(self, context: Any, domain: int) -> None:
        from rclpy.executors import SingleThreadedExecutor

        self.context, self.domain = context, domain
        self.executor = SingleThreadedExecutor(context=context)
        self.nodes: list[Any] = []
        self.strangers: list[Any] = []

    def add(self, node: Any) -> Any:
        """Spin `node`, and destroy it at the end."""
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def node(self, name: str) -> Any:
        """A plain node of this context."""
        from rclpy.node import Node

        return Node(name, context=self.context)

    def stranger(self) -> Any:
        """A node of another participant, as another process would have."""
        import rclpy
        from rclpy.node import Node
        from rclpy.signals import SignalHandlerOptions

        context = rclpy.Context()
        rclpy.init(context=context, domain_id=self.domain, signal_handler_options=SignalHandlerOptions.NO)
        self.strangers.append(Node("stranger", context=context))
        return self.strangers[-1]

    def until(self, condition: Callable[[], object], what: str, each: Callable[[], None] | None = None) -> None:
        """Spin until `condition`, for half a minute at most; `each` is called between two callbacks."""
        timeout = 30.0
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
            self.executor.spin_once(timeout_sec=0.01)
            if each is not None:
                each()

    def spin(self, seconds: float, each: Callable[[], None] | None = None) -> None:
        """Spin for a while; only for what must not happen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.01)
            if each is not None:
                each()


_recent: deque[ExitStack] = deque()  # domains of the last tests, still locked


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    """A domain for this test, which child processes get too; logs go to the test's folder.

    None of the last tests had it: whom they left behind is still in the graph for a while, and a button of theirs that
    vanishes from it would stop the next test's robot.
    """
    pytest.importorskip("rclpy")
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "ros_log"))
    monkeypatch.setenv("ROS_HOME", str(tmp_path / "ros_home"))
    monkeypatch.delenv("ROS_DOMAIN_ID")
    held = ExitStack()
    for name, value in held.enter_context(own_domain()).items():
        monkeypatch.setenv(name, value)
    _recent.append(held)
    if len(_recent) > 16:
        _recent.popleft().close()
    return int(os.environ["ROS_DOMAIN_ID"])


@pytest.fixture
def in_a_terminal() -> Iterator[None]:
    """Programs that are started hear that their terminal was closed, also where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.default_int_handler)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def ros(ros_domain: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ros]:
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    monkeypatch.setattr("ros_nodes.e_stop._ACQUAINTED", 0.0)  # whom a test wants to be known, it waits for
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain, signal_handler_options=SignalHandlerOptions.NO)
    ros = Ros(context, ros_domain)
    yield ros
    for node in ros.nodes:
        ros.executor.remove_node(node)
        node.destroy_node()
    for node in ros.strangers:
        node.destroy_node()
        rclpy.try_shutdown(context=node.context)
    ros.executor.shutdown()
    rclpy.try_shutdown(context=context)


@pytest.fixture
def reported_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a policy node looks at, says and fetches once a second, ten times a second."""
    monkeypatch.setattr("ros_nodes.policy_node._SLOW", 0.1)


def stages_of(kind: Callable[..., Any], ros: Ros, folder: Path) -> Iterator[Callable[..., Any]]:
    """Gives a function that builds stages of a kind; their nodes are shut down afterwards."""
    stages: list[Any] = []

    def build(**options: Any) -> Any:
        stages.append(kind(ros, folder, **options))
        return stages[-1]

    yield build
    for stage in stages:
        if stage.node._state_machine.current_state[1] != "finalized":
            stage.node.trigger_shutdown()


@pytest.fixture
def make(ros: Ros, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Builds stages: a policy node in real time and its robot; the options are those of tests/ros/stage.py."""
    from tests.ros.stage import Stage

    yield from stages_of(Stage, ros, tmp_path)
