"""The policy node in this process, as `ros_nodes.policy_node` runs it, for a benchmark that looks inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def policy_node(values: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The node, unconfigured, and the executor that spins it; both end with the block.

    values: of its parameters.
    """
    import rclpy
    from rclpy.parameter import Parameter

    from ros_nodes.distro import make_executor
    from ros_nodes.policy_node import PolicyNode

    rclpy.init()
    node = PolicyNode(parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
    executor = make_executor(node)
    try:
        yield node, executor
    finally:
        node.trigger_shutdown()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
