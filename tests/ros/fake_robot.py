"""A scripted robot for the toy spec: speed counts ticks, reward is 1 per tick, and all goes wrong on demand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

RETRY = 0.1  # seconds
PERIOD = 20_000_000  # ns


def joint_state(stamp: int, names: list[str], position: list[float], velocity: list[float] | None = None) -> JointState:
    message = JointState(name=names, position=position, velocity=velocity or [])
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    return message


class FakeRobot(Node):
    """Lockstep when `poke` is called often; in real time call `publish` yourself.

    Attributes:
      tick: of the sensors; the stamp is tick * PERIOD.
      lost: (tick, topic) whose first publication is lost; topic "command" loses the first answer.
      refuse: how many resets to refuse.
      terminal, reward, speed: by tick, instead of False, 1.0 and the tick.
      clock: ns, for the stamps, instead of the ticks.
      commands: (label, numbers) of every command that came.
      answered: (tick, numbers) of every command that moved the world.
      resets: ticks at which a reset came.
      announces: the reset's answer says the first stamp after it.
      drawn: what the next resets' answers say behind that stamp, one each.
      leap: ticks that go by between the answer and the first sensors after it.
      label_mistakes: commands that answered another stamp.
    """

    def __init__(self, context: Any, with_reset: bool = True) -> None:
        super().__init__("fake_robot", context=context)
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        self.tick = 1
        self.lost: set[tuple[int, str]] = set()
        self.refuse = 0
        self.terminal: dict[int, bool] = {}
        self.reward: dict[int, float] = {}
        self.speed: dict[int, float] = {}
        self.clock: Callable[[], int] | None = None
        self.commands: list[tuple[str, list[float]]] = []
        self.answered: list[tuple[int, list[float]]] = []
        self.resets: list[int] = []
        self.announces = False
        self.drawn: list[str] = []
        self.leap = 0
        self.label_mistakes = 0
        self.joints = self.create_publisher(JointState, "joint_states", qos)
        self.task = self.create_publisher(JointState, "task", qos)
        self.ears: Any = None
        self.listen()
        if with_reset:
            self.create_service(Trigger, "reset", self._on_reset)
        self._due = 0.0

    def listen(self) -> None:
        """Obey commands, as it does from the beginning."""
        self.ears = self.create_subscription(Float64MultiArray, "motor/commands", self._on_command, 10)

    def deafen(self) -> None:
        """Obey no commands, as a driver that was ended."""
        self.destroy_subscription(self.ears)

    def publish(self) -> None:
        """All sensors of this tick."""
        t = self.tick
        stamp = self.clock() if self.clock is not None else t * PERIOD
        if (t, "joint_states") in self.lost:
            self.lost.discard((t, "joint_states"))
        else:
            speed = self.speed.get(t, float(t))
            self.joints.publish(joint_state(stamp, ["other", "hinge"], [9.0, 0.001 * (t % 7)], [9.0, speed]))
        if (t, "task") in self.lost:
            self.lost.discard((t, "task"))
        else:
            values = [self.reward.get(t, 1.0), float(self.terminal.get(t, False))]
            self.task.publish(joint_state(stamp, ["reward", "terminal"], values))

    def poke(self) -> None:
        """Lockstep: publish when it is time."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + RETRY
            self.publish()

    def restart(self) -> None:
        """As if the process had been killed and started again."""
        self.tick = 1
        self._due = 0.0

    def _on_command(self, message: Float64MultiArray) -> None:
        label = message.layout.dim[0].label
        self.commands.append((label, list(message.data)))
        if not label:
            return
        if label != str(self.tick * PERIOD):
            self.label_mistakes += 1
        elif (self.tick, "command") in self.lost:
            self.lost.discard((self.tick, "command"))
        else:
            self.answered.append((self.tick, list(message.data)))
            self.tick += 1
            self._due = 0.0

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.resets.append(self.tick)
        if self.refuse:
            self.refuse -= 1
            response.success, response.message = False, "a person is in the way"
            return response
        self.tick += 1
        self._due = 0.0
        said = f"{self.tick * PERIOD} {self.drawn.pop(0) if self.drawn else ''}".rstrip()
        response.success, response.message = True, said if self.announces else "done"
        self.tick += self.leap
        return response
