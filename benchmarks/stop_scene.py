"""A policy node as a process of its own, a scripted robot that writes down every command, and a person who presses.

For benchmarks/stop.py. The robot is heard and obeyed by topics and services alone, as a real one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from sim.watchdog import Watchdog

RATE, RAMP, WATCHDOG = 50.0, 2.0, 0.5  # Hz, seconds, seconds
LOW, HIGH = np.array([-2.0, 0.0]), np.array([2.0, 1.0])
NEUTRAL = np.zeros(2)
STEP = (HIGH - LOW) / (RATE * RAMP)  # of the ramp, per command
SPEC = f"""
name: stop
rate: {RATE}
observations:
  - {{name: speed, shape: [1],
     source: {{topic: joint_states, type: sensor_msgs/msg/JointState, field: velocity, names: [hinge]}}}}
watched:
  - {{name: up, shape: [3], source: {{topic: imu, type: sensor_msgs/msg/Imu, field: linear_acceleration}}}}
  - {{name: temperature, shape: [1], unit: C,
     source: {{topic: motors, type: sensor_msgs/msg/JointState, field: position, names: [hinge]}}}}
actions:
  - {{name: torque, unit: Nm, low: {LOW.tolist()}, high: {HIGH.tolist()}, command: {{topic: motor/commands}}}}
reward: {{expression: "speed"}}
episode: {{max_steps: 1000000, reset_service: reset}}
safety:
  ramp_seconds: {RAMP}
  reactions: {{e_stop: damp, limit: damp, tilt: ramp}}
  tilt: {{observation: up, max_angle: 1.0}}
  limits: [{{observation: temperature, high: [80.0]}}]
"""
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
SHUTDOWN = Transition.TRANSITION_ACTIVE_SHUTDOWN
PATIENCE = 30.0  # seconds for what ought to happen
SERVICES: dict[str, Any] = dict.fromkeys(("passive", "stand", "policy", "e_stop", "clear_fault"), Trigger)
SERVICES |= {"take_over": SetBool, "change_state": ChangeState}  # of the policy node
Like = Callable[[NDArray[np.float64], NDArray[np.float64]], bool]
_SENSORS, _HAND = 0.01, 0.02  # seconds between two messages
_EVERY = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


class Robot(Node):
    """Sensors a hundred times a second; commands as they come.

    Attributes:
      commands: (monotonic seconds of the arrival, numbers), all of them.
      speaks, tilted, warm: what the sensors say.
      hand: what a person commands by ~/teleop; None: nobody does.
      heard, commanded_at: monotonic seconds of the last sensor message, of the last command.
    """

    def __init__(self, context: Any) -> None:
        super().__init__("robot", context=context)
        self.commands: list[tuple[float, NDArray[np.float64]]] = []
        self.soothe()
        self.heard = self.commanded_at = 0.0
        self._outlets = {topic: self.create_publisher(JointState, topic, 1) for topic in ("joint_states", "motors")}
        self._imu = self.create_publisher(Imu, "imu", 1)
        self._teleop = self.create_publisher(Float64MultiArray, "policy/teleop/motor/commands", 1)
        self.create_subscription(Float64MultiArray, "motor/commands", self._obey, _EVERY)
        self.watchdog = Watchdog(self, WATCHDOG)
        self.create_timer(_SENSORS, self._sense)
        self.create_timer(_HAND, self._handle)

    def soothe(self) -> None:
        """All is well, and nobody's hand is on it."""
        self.speaks, self.tilted, self.warm = True, False, False
        self.hand: NDArray[np.float64] | None = None

    def _obey(self, message: Float64MultiArray) -> None:
        self.commanded_at = time.monotonic()
        self.commands.append((self.commanded_at, np.array(message.data)))

    def _sense(self) -> None:
        if not self.speaks:
            return
        self.heard = time.monotonic()
        stamp = self.get_clock().now().to_msg()
        for topic, outlet in self._outlets.items():
            value = 95.0 if self.warm and topic == "motors" else float(np.sin(self.heard))
            message = JointState(name=["hinge"], position=[value], velocity=[value])
            message.header.stamp = stamp
            outlet.publish(message)
        gravity = Imu()
        gravity.header.stamp = stamp
        gravity.linear_acceleration.x, gravity.linear_acceleration.z = (9.81, 0.0) if self.tilted else (0.0, 9.81)
        self._imu.publish(gravity)

    def _handle(self) -> None:
        if self.hand is not None:
            self._teleop.publish(Float64MultiArray(data=self.hand.tolist()))


class Spinner:
    """Nodes that are served by a thread of their own."""

    def __init__(self, *nodes: Node) -> None:
        self._executor = SingleThreadedExecutor(context=nodes[0].context)
        for node in nodes:
            self._executor.add_node(node)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        self._executor.shutdown()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.05)


class Scene:
    """All of it. `begin` starts a policy node, `end` ends it; `close` ends everything.

    Attributes:
      robot: see Robot.
      resetting: the robot was asked for a reset; it answers when `reset_may_end` is set.
      process: the policy node.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "stop.yaml").write_text(SPEC)
        self.resetting, self.reset_may_end = threading.Event(), threading.Event()
        self.reset_may_end.set()
        self.process: subprocess.Popen[bytes] | None = None
        self._open()

    def _open(self) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.robot = Robot(self._context)
        self._person, self._keeper = (Node(name, context=self._context) for name in ("person", "keeper"))
        self._keeper.create_service(Trigger, "reset", self._reset)
        self._button = self._person.create_publisher(Bool, "e_stop", _EVERY)
        self._services = {name: self._person.create_client(kind, f"policy/{name}") for name, kind in SERVICES.items()}
        self._spinners = [Spinner(node) for node in (self.robot, self._person, self._keeper)]

    def begin(self) -> None:
        """A new policy node, active and passive."""
        command = [sys.executable, "-m", "ros_nodes.policy_node", "--ros-args", "-p", "clock:=realtime"]
        command += ["-p", f"robot:={self._folder / 'stop.yaml'}", "-p", "random_actions:=true"]
        with (self._folder / "node.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
        self.until(lambda: self.heard and self.ask("passive").success, "the policy node", pause=0.05)

    def end(self) -> int:
        """The policy node ends, if it has not yet: its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        status, self.process = self.process.wait(PATIENCE), None
        return status

    def renew(self) -> None:
        """Robot and person come anew: those who knew a node that was killed hear of it for many seconds."""
        self.close()
        self._open()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None
        for spinner in self._spinners:
            spinner.stop()
        for node in (self.robot, self._person, self._keeper):
            node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    @property
    def heard(self) -> bool:
        """The policy node has found the button (two of its subscriptions match a reliable one), and its services are
        found.
        """
        pressed = self._button.get_subscription_count() >= 2
        return pressed and all(client.service_is_ready() for client in self._services.values())

    def press(self, down: bool) -> None:
        self._button.publish(Bool(data=down))

    def kill(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def call(self, name: str, **request: Any) -> Any:
        """Call a service of the policy node and do not wait: a future."""
        return self._services[name].call_async(SERVICES[name].Request(**request))

    def ask(self, name: str, **request: Any) -> Any:
        """The answer of a service."""
        future = self.call(name, **request)
        self.until(future.done, f"an answer of {name}")
        return future.result()

    def transit(self, transition: int) -> Any:
        """Ask for a transition of the policy node's life and do not wait: a future."""
        return self.call("change_state", transition=Transition(id=transition))

    def take_over(self, on: bool) -> Any:
        return self.call("take_over", data=on)

    def until(self, condition: Callable[[], Any], what: str, pause: float = 0.001) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {PATIENCE:g} s: {what}; see {self._folder / 'node.log'}")
            time.sleep(pause)

    def wait(self, seconds: float) -> None:
        """Until so long after the next command, if one comes."""
        begin, deadline = len(self.robot.commands), time.monotonic() + 3 / RATE
        while len(self.robot.commands) == begin and time.monotonic() < deadline:
            time.sleep(0.0002)
        time.sleep(max(0.0, self.robot.commanded_at + seconds - time.monotonic()))

    def commanded(self, count: int, like: Like, what: str) -> None:
        """Wait for `count` commands from now on, one after the other, each of which is as `like` says to the one
        before.
        """
        begin = len(self.robot.commands)

        def found() -> bool:
            last = [numbers for _, numbers in self.robot.commands[begin:]][-count - 1 :]
            return len(last) == count + 1 and all(like(a, b) for a, b in zip(last, last[1:], strict=False))

        self.until(found, what)

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.resetting.set()
        response.success = self.reset_may_end.wait(PATIENCE)
        return response
