"""A policy node in real time and the scripted robot that it drives."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from robot_dreamer.record import StepRecord
from ros_nodes.policy_node import PolicyNode
from tests.onboard_models import TOY
from tests.ros.conftest import Ros
from tests.ros.fake_robot import PERIOD, FakeRobot

MOVES = {
    "automatic": True,
    "random_actions": True,
}  # what a node is told that shall act at once, with a bundle or without


def make_node(ros: Ros, folder: Path, **parameters: Any) -> PolicyNode:
    """A node for the toy robot in real time that is not configured yet."""
    file = folder / "toy.yaml"
    file.write_text(TOY)
    values = {"robot": str(file), "clock": "realtime", **MOVES, **parameters}
    overrides = [Parameter(k, value=v) for k, v in values.items()]
    return ros.add(PolicyNode(context=ros.context, parameter_overrides=overrides))


class Stage:
    """A policy node and a robot that publishes 100 times a second, however slow the machine."""

    def __init__(
        self,
        ros: Ros,
        folder: Path,
        max_steps: int = 5,
        spec: str = TOY,
        max_age: float | None = None,
        deaf: bool = False,
        **parameters: Any,
    ) -> None:
        file = folder / "toy.yaml"
        content = yaml.safe_load(spec.replace("max_steps: 5", f"max_steps: {max_steps}"))
        content.setdefault("safety", {"stale_seconds": 0}).setdefault("missed_deadlines", 0)  # a stall is no fault
        if max_age is not None:
            for observation in content["observations"]:
                observation["source"]["max_age"] = max_age
        file.write_text(yaml.safe_dump(content))
        values = {"robot": str(file), "clock": "realtime", "threads": 1} | MOVES | parameters
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.ros = ros
        self.robot = ros.add(FakeRobot(ros.context))
        if deaf:
            self.robot.deafen()
        self.node = ros.add(PolicyNode(context=ros.context, parameter_overrides=overrides))
        self.rows: list[StepRecord] = []
        assert self.node.bring_up()
        self.sent: list[list[float]] = []  # all commands, also those that the robot did not get: it keeps the last 1
        self._note_rows()
        self._note_commands()
        self.speaks = True
        self.also: list[Callable[[int], None]] = []  # further sensors: each is called with the stamp, ns
        self._due = 0.0

    @property
    def components(self) -> Any:
        return self.node.components

    @property
    def controller(self) -> Any:
        return self.components.controller

    def _note_rows(self) -> None:
        record = self.controller._record  # of the link, if there is one

        def note(row: StepRecord) -> None:
            self.rows.append(row)
            if record is not None:
                record(row)

        self.controller._record = note

    def _note_commands(self) -> None:
        commander = self.components.runner._commander
        publish = commander.publish

        def note(commands: dict[str, Any]) -> None:
            self.sent.append(commands["torque"].tolist())
            publish(commands)

        commander.publish = note

    def poke(self) -> None:
        if self.speaks and time.monotonic() >= self._due:
            self._due = time.monotonic() + 0.01
            self.robot.tick += 1
            self.robot.publish()
            for publish in self.also:
                publish(self.robot.tick * PERIOD)

    def until(self, condition: Callable[[], object], what: str) -> None:
        self.ros.until(condition, what, each=self.poke)

    def only(self, numbers: list[float]) -> None:
        """From now on, a tick that is under way aside, these commands are sent and no others, and they arrive."""
        begin = len(self.sent) + 1
        self.until(lambda: len(self.sent) > begin + 5, "commands")
        assert all(command == numbers for command in self.sent[begin:])
        self.until(lambda: self.last == numbers, "their arrival")

    def silent(self) -> None:
        """From now on, a tick that is under way aside, nothing is sent."""
        ticks = self.components.runner.ticks
        self.until(lambda: self.components.runner.ticks > ticks + 1, "the next tick")
        sent = len(self.sent)
        self.ros.spin(0.3, self.poke)
        assert len(self.sent) == sent

    def call(self, service: str, **request: Any) -> Any:
        """The answer of one of the node's services, such as policy/stand."""
        kind = SetBool if request else Trigger
        client = self.robot.create_client(kind, service)
        self.until(client.service_is_ready, f"service {service}")
        future = client.call_async(kind.Request(**request))
        self.until(future.done, f"the answer of {service}")
        self.robot.destroy_client(client)
        return future.result()

    def watch(self, kind: type, topic: str, qos: Any = 10) -> list[Any]:
        """All messages of a topic from now on."""
        seen: list[Any] = []
        self.robot.create_subscription(kind, topic, seen.append, qos)
        return seen

    @property
    def last(self) -> list[float]:
        """Numbers of the last command that reached the robot."""
        return self.robot.commands[-1][1]
