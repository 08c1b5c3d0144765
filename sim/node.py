"""The simulated robot as a process: `python -m sim.node --ros-args -p robot:=cartpole`. See docs/simulation.md."""

from __future__ import annotations

import signal
import sys
import threading


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM. Exit status 0, or 2 after a wrong parameter."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    # Imported only now: it takes seconds, in which a signal must not end in a traceback.
    import rclpy
    from rclpy.node import Node
    from rclpy.signals import SignalHandlerOptions

    from sim.simulated_robot import SimulatedRobot

    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = Node("sim_robot")
        SimulatedRobot(node).run(stop.is_set)
    except ValueError as error:
        print(f"sim_robot: {error}", file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
