"""A node for as long as something is asked or listened for, in a context of its own: the process's stays as it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions


@contextmanager
def own_node(name: str, namespace: str = "", sim_time: bool = False) -> Iterator[tuple[Node, SingleThreadedExecutor]]:
    """The node and the executor that it is in; Ctrl-C is left to Python."""
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        parameters = [Parameter("use_sim_time", value=sim_time)]
        node = Node(name, context=context, namespace=namespace, parameter_overrides=parameters)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            yield node, executor
        finally:
            executor.shutdown()
            node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


@contextmanager
def spinning(executor: SingleThreadedExecutor, name: str, failed: Callable[[Exception], bool]) -> Iterator[None]:
    """A thread of this name spins the executor inside the `with`.

    failed: is told what spinning raised; returns whether to go on.
    """
    ended = threading.Event()

    def spin() -> None:
        while not ended.is_set():
            try:
                executor.spin_once(timeout_sec=0.1)
            except Exception as error:
                if not failed(error):
                    return

    thread = threading.Thread(target=spin, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(2.0)
