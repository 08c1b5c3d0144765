"""The simulated robot on ROS 2 topics.

It has the topics of a driver, as the RobotSpec names them, so that the policy node cannot tell it from a robot. Two
clocks: in `lockstep` the world waits for the command that answers the sensors' stamp (docs/architecture.md), in
`realtime` it does not wait for anybody.
"""

from __future__ import annotations

import functools
import json
import math
import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from robot_dreamer.environment import EpisodeBroken
from robot_dreamer.onboard.command_codec import CommandError, CommandReader
from robot_dreamer.ros_types import message_class
from robot_dreamer.settings.sim_robot import SimRobotSettings
from robot_dreamer.spec import ActionSpec, load_spec, require_lockstep
from ros_nodes.distro import make_executor
from ros_nodes.parameters import declare
from sim import messages
from sim.gap import drawn_once
from sim.robot import SimRobot
from sim.sensors import Sensors, require_realtime
from sim.watchdog import Watchdog

LOCKSTEP, REALTIME = "lockstep", "realtime"
_LATEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)  # as a publisher it suits every subscriber
_POLL = 0.2  # longest wait before a request to stop is seen, s
_REPORT_PERIOD = 30.0  # between two lines about progress, s
_SILENCE = 5.0  # without an answer in lockstep, before a line says that the world waits, s


@dataclass
class Counters:
    """What happened since the start."""

    steps: int = 0
    resets: int = 0
    retries: int = 0  # lockstep: sensors published again because no answer came
    dropped: int = 0  # sensor messages dropped on purpose (parameter loss)
    stale: int = 0  # lockstep: commands ignored because they answer another stamp
    unlabelled: int = 0  # lockstep: commands accepted although they do not say which stamp they answer
    rejected: int = 0  # commands of the wrong length, for other joints, or not finite
    late: int = 0  # realtime: periods skipped because the machine was too slow
    diverged: int = 0  # worlds that lost themselves and began anew
    ended: int = 0  # worlds whose task was over, and which began anew because nobody resets the robot
    unled: int = 0  # realtime: periods with the neutral command because the watchdog missed the heartbeat

    def __str__(self) -> str:
        return ", ".join(f"{f.name} {getattr(self, f.name)}" for f in fields(self))


class SimulatedRobot:
    """See the module. Parameters are read once, at the start.

    Args:
      node: gets the parameters, topics and the reset service; nobody else may spin it.

    Raises:
      ValueError: a parameter with an unknown name or out of its range; an unknown robot, or one that cannot be
        simulated.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._logger = node.get_logger()
        p = declare(node, SimRobotSettings)
        self._clock, self._speed, self._retry_time, self._loss = p.clock, p.speed, p.retry_time, p.loss
        self.spec = load_spec(p.robot)
        if self._clock == LOCKSTEP:
            require_lockstep(self.spec)
        else:
            require_realtime(self.spec)
        self.counters = Counters()
        self._random = random.Random(p.seed)
        self._robot = SimRobot(self.spec, p.seed)
        self._readers = {action.name: CommandReader(action) for action in self.spec.actions}
        self._held = {o.source.topic for o in self.spec.quantities if o.source.hold}
        self._commands: dict[str, NDArray[np.float64]] = {}  # lockstep: answers so far; realtime: the latest
        self._sensors = self._begin_episode()
        self._fresh = True  # the present sensors have not been published yet
        self._due = self._asked_at = time.monotonic()  # next publication; first publication of the present stamp
        self._silent = False  # said that the world waits
        self._watchdog = Watchdog(node, p.watchdog)
        self._make_topics()
        if same := drawn_once(self.spec):
            self._logger.warning(same)
        self._logger.info(f"robot {self.spec.name}, clock {self._clock}, {self.spec.rate:g} Hz, seed {p.seed}")

    def run(self, stop: Callable[[], bool]) -> None:
        """Simulate until stop() is true."""
        executor = make_executor(self._node)
        tick = self._tick_lockstep if self._clock == LOCKSTEP else self._tick_realtime
        report_at = time.monotonic() + _REPORT_PERIOD
        try:
            while not stop():
                executor.spin_once(timeout_sec=min(max(self._due - time.monotonic(), 0.0), _POLL))
                now = time.monotonic()
                tick(now)
                if now >= report_at:
                    self._logger.info(str(self.counters))
                    report_at += _REPORT_PERIOD
        finally:
            executor.shutdown()
            self._logger.info(f"stopped: {self.counters}")

    def _tick_lockstep(self, now: float) -> None:
        if len(self._commands) == len(self.spec.actions):
            self._sensors = self._step(self._commands)
            self.counters.steps += 1
            self._begin_stamp(now)
        if now >= self._due:
            if self._fresh:
                self._asked_at = now
            else:
                self.counters.retries += 1
            self._publish()
            self._due = now + self._retry_time
        if not self._fresh and not self._silent and now - self._asked_at > _SILENCE:
            self._silent = True
            self._logger.warning(f"no command for {_SILENCE:g} s: the world waits for a policy node")

    def _begin_stamp(self, now: float) -> None:
        """There are new sensors to be published, at once or when `speed` allows."""
        self._commands.clear()
        self._fresh = True
        self._due = max(now, self._asked_at + self.spec.period / self._speed) if self._speed else now
        if self._silent:
            self._silent = False
            self._logger.info("commands arrive")

    def _tick_realtime(self, now: float) -> None:
        """Absolute deadlines; a period that is over before its turn is skipped and counted."""
        if now < self._due:
            return
        if not self._fresh:  # after a reset the new episode's first sensors come first
            if not self._watchdog.obey():
                self.counters.unled += 1
                self._forget_commands(self.spec.safety.keep)
            self._sensors = self._step({a.name: self._command(a) for a in self.spec.actions})
            self.counters.steps += 1
        self._publish()
        if self._stranded:
            self._forget_commands()  # what comes from now on answers the end
        behind = max(0, math.floor((now - self._due) / self.spec.period))
        self.counters.late += behind
        self._due += (1 + behind) * self.spec.period

    def _step(self, commands: Mapping[str, NDArray[np.float64]]) -> Sensors:
        """One period. A world that loses itself is set up anew: time leaps as at a reset, which cuts the episode. So is
        one that has ended, once that was answered, where nobody resets the robot: it would stand still for ever.
        """
        if self._stranded and len(self._commands) == len(self.spec.actions):
            self.counters.ended += 1
            ended = "the task is over, and the robot has no episode.reset_service: a new world begins"
            self._logger.info(ended, throttle_duration_sec=5.0)
            return self._begin_episode()
        try:
            return self._robot.step(commands)
        except EpisodeBroken as error:
            self.counters.diverged += 1
            self._logger.error(f"{error}: a new world begins")
            return self._begin_episode()

    @property
    def _stranded(self) -> bool:
        """The task has ended for good, and nobody resets the robot."""
        return self._sensors.terminal and not self.spec.episode.reset_service

    def _begin_episode(self) -> Sensors:
        """A new world, in which no command is in force."""
        self._forget_commands()
        sensors = self._robot.reset()
        if self._robot.drawn:
            self._logger.info(f"episode: {json.dumps(self._robot.drawn)}")
        return sensors

    def _command(self, action: ActionSpec) -> NDArray[np.float64]:
        """The latest command; neutral before the first of an episode, and while the watchdog misses the heartbeat, but
        for what `safety.keep` names."""
        return self._commands[action.name] if action.name in self._commands else action.neutral_command()

    def _forget_commands(self, but: Collection[str] = ()) -> None:
        """Those of joints with a topic of their own too: nothing of them is in force when a neighbour speaks again.

        but: actions whose commands stay in force.
        """
        for name, reader in self._readers.items():
            if name not in but:
                self._commands.pop(name, None)
                reader.forget()

    def _make_topics(self) -> None:
        self._clock_publisher = self._node.create_publisher(Clock, "/clock", _LATEST)
        self._outlets: dict[str, tuple[Any, Any]] = {}
        for topic, kind, _ in self._sensors.by_topic():
            message_type = message_class(kind)
            self._outlets[topic] = (self._node.create_publisher(message_type, topic, _LATEST), message_type())
        for action in self.spec.actions:
            reader, command_type = self._readers[action.name], message_class(action.command.type)
            for topic in action.command.topics:
                receive = functools.partial(self._on_command, action.name, reader, topic)
                self._node.create_subscription(command_type, topic, receive, _LATEST)
        if self.spec.episode.reset_service:
            self._node.create_service(Trigger, self.spec.episode.reset_service, self._on_reset)

    def _publish(self) -> None:
        """All sensors, with one stamp, after the clock; first what is held, which no complete set waits for."""
        self._fresh = False
        stamp = messages.stamp_to_time(self._sensors.stamp)
        self._clock_publisher.publish(Clock(clock=stamp))
        for topic, kind, reading in sorted(self._sensors.by_topic(), key=lambda said: said[0] not in self._held):
            publisher, message = self._outlets[topic]
            messages.FILL[kind](message, stamp, reading)
            self._send(publisher, message)

    def _send(self, publisher: Any, message: Any) -> None:
        if self._loss and self._random.random() < self._loss:
            self.counters.dropped += 1
        else:
            publisher.publish(message)

    def _on_command(self, name: str, reader: CommandReader, topic: str, message: Any) -> None:
        try:
            command, label = reader.read(topic, message)
        except CommandError as error:
            self.counters.rejected += 1
            self._logger.warning(f"rejected: {error}", throttle_duration_sec=5.0)
            return
        if self._clock == LOCKSTEP:
            if self._fresh or (label and label != str(self._sensors.stamp)):
                self.counters.stale += 1
                return
            self.counters.unlabelled += not label
        self._commands[name] = command

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Begin an episode. The answer's message is the stamp of its first sensors, ns (older ones are not of it), and
        where something was drawn for it, a space and that as JSON.
        """
        self._sensors = self._begin_episode()
        self.counters.resets += 1
        if self._clock == LOCKSTEP:
            self._begin_stamp(time.monotonic())
        else:
            self._fresh = True
        drawn = self._robot.drawn_at_reset
        said = [str(self._sensors.stamp), *([json.dumps(drawn)] if drawn else [])]
        response.success, response.message = True, " ".join(said)
        return response
