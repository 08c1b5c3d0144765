"""The simulated robot as a process: `python -m sim.node --ros-args -p robot:=cartpole`. See docs/simulation.md."""

from __future__ import annotations

import sys
import threading

from robot_dreamer.endings import ended_by


def main(args: list[str] | None = None) -> int:
    """Run until a signal that ends a program. Exit status 0, or 2: a wrong parameter, no pictures here."""
    stop = threading.Event()
    with ended_by(lambda *_: stop.set()):
        return _run(args, stop)


def _run(args: list[str] | None, stop: threading.Event) -> int:
    # Imported only now: it takes seconds, in which a signal must not end in a traceback.
    import rclpy
    from rclpy.node import Node
    from rclpy.signals import SignalHandlerOptions

    from ros_nodes.parameters import require_read
    from sim.physics import CannotRender
    from sim.simulated_robot import SimulatedRobot

    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        require_read(args)
        node = Node("sim_robot")
        SimulatedRobot(node).run(stop.is_set)
    except (ValueError, CannotRender) as error:
        print(f"sim_robot: {error}", file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
