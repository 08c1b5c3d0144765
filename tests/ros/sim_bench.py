"""Simulated robots for tests, each in a thread of its own as in a process of its own."""

from __future__ import annotations

import threading
from typing import Any

from rclpy.node import Node
from rclpy.parameter import Parameter

from sim.simulated_robot import SimulatedRobot


class Bench:
    """Starts simulated robots; `stop` ends them."""

    def __init__(self, ros: Any) -> None:
        self.ros, self._threads, self._stop = ros, [], threading.Event()

    def robot(self, **parameters: Any) -> SimulatedRobot:
        overrides = [Parameter(k, value=v) for k, v in parameters.items()]
        node = Node("simulated_robot", context=self.ros.context, parameter_overrides=overrides)
        robot = SimulatedRobot(node)
        thread = threading.Thread(target=robot.run, args=[self._stop.is_set])
        self._threads.append((thread, node))
        thread.start()
        return robot

    def stop(self) -> None:
        self._stop.set()
        for thread, node in self._threads:
            thread.join(10)
            assert not thread.is_alive()
            node.destroy_node()
