"""Run by an environment that holds the robot's packages only: import all of the robot side, and act in lockstep.

    python robot_side.py TOY.yaml TOY.bundle      with fake_robot.py beside it

It imports nothing of the tests but the scripted robot, and the project as it is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import time

FOREIGN = ("torch", "gymnasium", "mujoco", "dm_control", "onnx", "onnxscript", "matplotlib", "rich", "scipy")
ROOMS = ("robot_dreamer.spec", "robot_dreamer.record", "robot_dreamer.link", "robot_dreamer.onboard", "ros_nodes")
SECONDS = 60.0


def import_everything() -> int:
    """Number of modules."""
    found = [name for name in FOREIGN if importlib.util.find_spec(name)]
    assert not found, f"these should not be here: {found}"
    modules = []
    for room in ROOMS:
        package = importlib.import_module(room)
        names = [m.name for m in pkgutil.walk_packages(getattr(package, "__path__", []), room + ".")]
        modules += [importlib.import_module(name) for name in names]
    assert not any(name in sys.modules for name in FOREIGN)
    return len(modules)


def act(spec: str, bundle: str) -> tuple[int, int]:
    """Three episodes with the bundle: steps and policy version."""
    import rclpy
    from fake_robot import FakeRobot
    from rclpy.parameter import Parameter

    from ros_nodes.policy_node import PolicyNode

    rclpy.init()
    values = {"robot": spec, "bundle": bundle, "clock": "lockstep", "deterministic": True, "automatic": True}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    robot, node = FakeRobot(None), PolicyNode(parameter_overrides=overrides)
    executor = rclpy.executors.SingleThreadedExecutor()
    executor.add_node(robot)
    executor.add_node(node)
    assert node.bring_up()
    controller, deadline = node.components.controller, time.monotonic() + SECONDS
    while controller.episodes < 3:
        assert time.monotonic() < deadline, f"only {controller.episodes} episodes in {SECONDS} s"
        executor.spin_once(timeout_sec=0.01)
        robot.poke()
    steps, version = controller.steps, node.components.slot.current.version
    node.trigger_shutdown()
    assert robot.label_mistakes == 0 and len({tick for tick, _ in robot.answered}) == len(robot.answered)
    rclpy.try_shutdown()
    return steps, version


if __name__ == "__main__":
    count = import_everything()
    steps, version = act(*sys.argv[1:])
    assert version == 1
    print(f"python {sys.version.split()[0]}: {count} modules, {steps} steps with bundle {version}")
