"""Moves one joint after the other, in the policy node's place and with its guard, while somebody else asks a person."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node

from robot_dreamer.endings import ended_by
from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.onboard.guard import Guard
from robot_dreamer.onboard.limits import Commands
from robot_dreamer.onboard.observer import Observer
from robot_dreamer.preflight.evidence import Evidence
from robot_dreamer.preflight.motions import SECONDS, Motion, Places, command_of, standing
from robot_dreamer.preflight.wiggle import Trial
from robot_dreamer.ros_types import message_class
from robot_dreamer.spec import RobotSpec
from robot_dreamer.spec.units import si
from ros_nodes import heartbeat
from ros_nodes.commander import Commander
from ros_nodes.e_stop import EStop
from ros_nodes.inlets import news, qualities
from ros_nodes.outlets import Outlets
from ros_nodes.own_node import own_node, spinning

_PATIENCE = 5.0  # seconds for all sensors to speak
_DISCOVERY = 1.0  # seconds until those who run already are known
_SLACK = 0.02  # of a range, that a joint may stand beyond it
_SETTLED = 0.6  # seconds that are watched after a wave: joints are late
_POLICY = "policy"  # whose place it takes: the low level listens to that node's heartbeat


class Wiggler:
    """Drives the robot from `start` to `close`: at rest, or with one joint in motion. One thread spins the node; the
    one that asks people calls the methods.

    At rest a position command holds the joint where it stood at the start; a velocity or an effort is neutral. What
    halts it ends the motion for good: positions stay where they are commanded at that moment, the rest goes to neutral
    within max_rate.

    Attributes:
      halted: why; empty while all is well.
    """

    def __init__(self, node: Node, spec: RobotSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self.halted = ""
        self._node, self._spec, self._clock = node, spec, clock
        self._guard = Guard(spec)
        self._stack = ExitStack()
        self._observer = Observer(spec, need_reward=False, now=lambda: int(node.get_clock().now().nanoseconds))
        self._commander = Commander(node, spec)
        self._heartbeat = heartbeat.Heartbeat(node, spec.rate)
        self._outlets = Outlets(node, {**self._commander.topics, heartbeat.TOPIC: heartbeat.KIND}, {})
        self._rest: Commands = {}
        self._lock = threading.Lock()
        self._trial: Trial | None = None
        self._began = 0.0
        self._places = Places(spec)
        self._before: dict[tuple[str, str], float] = {}  # places when the motion began
        self._driving = False
        self._e_stop = EStop(node, 0.0)
        self._e_stop.buttons.attach(self._guard)
        self._e_stop.companion.start()
        self._stack.callback(self._e_stop.destroy)
        for topic, kind in self._observer.topics.items():
            for qos in qualities(self._observer, topic):
                receive = partial(self._receive, topic)
                node.create_subscription(message_class(kind), topic, receive, qos, event_callbacks=news(qos))
        node.create_timer(spec.period, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def start(self) -> None:
        """Take the command topics, and hold the robot as it stands.

        Raises:
          ValueError: somebody else commands, sensors are silent, the emergency stop is pressed, nobody listens, or the
            robot stands outside of its limits.
        """
        self._e_stop.require_type()
        time.sleep(_DISCOVERY)
        me = (self._node.get_name(), self._node.get_namespace())
        if self._node.get_node_names_and_namespaces().count(me) > 1:
            name = self._node.get_fully_qualified_name()
            raise ValueError(f"a node {name} is running: end the policy node, whose place the wiggle takes")
        deadline = self._clock() + _PATIENCE
        while self._observer.missing() and self._clock() < deadline:
            time.sleep(0.05)
        if missing := self._observer.missing():
            raise ValueError(f"the wiggle needs all sensors: no fresh messages from {', '.join(missing)}")
        self._outlets.require_free()
        if fault := self._guard.fault:
            raise ValueError(f"the robot must not move: {fault}")
        if deaf := self._outlets.deaf(list(self._commander.topics)):
            raise ValueError("; ".join(deaf))
        self._rest = self._stand()
        self._guard.limits.start(self._rest)
        self._commander.open()
        self._heartbeat.open()
        with self._lock:
            self._driving = True

    def move(self, motion: Motion, stopped: Callable[[], bool]) -> Trial:
        """Move a joint there and back, and watch; until a halt, which `stopped` is one of."""
        trial = Trial(motion, Evidence(self._spec))
        with self._lock:
            self._before = dict(self._places.now)
            self._began, self._trial = self._clock(), trial
        while self._clock() - self._began < SECONDS + _SETTLED and not self.halted:
            if stopped():
                self.halt("a key was pressed")
            time.sleep(0.01)
        with self._lock:
            self._trial = None
        trial.halted = self.halted
        return trial

    def halt(self, why: str) -> None:
        """From any thread: no motion from here on."""
        with self._lock:
            if not self.halted:
                self.halted = why
                held = {a.name for a in self._spec.actions if standing(self._spec, a) is not None}
                neutral = {a.name: a.neutral_command() for a in self._spec.actions}
                self._rest = {n: self._guard.limits.last[n] if n in held else neutral[n] for n in neutral}

    def close(self) -> None:
        """Leave the robot at rest and give the topics back, even if whoever spins the node does so no more."""
        with self._lock:
            driven, self._driving = self._driving, False
        if driven:
            for _ in range(math.ceil(_PATIENCE / self._spec.period)):
                self._publish(self._rest)
                if self._rests():
                    break
                time.sleep(self._spec.period)
            self._heartbeat.beat(False)
        self._commander.close()
        self._heartbeat.close()
        self._stack.close()

    def _rests(self) -> bool:
        return all(np.array_equal(self._guard.limits.last[name], rest) for name, rest in self._rest.items())

    def _receive(self, topic: str, message: Any) -> None:
        self._observer.receive(topic, message)
        self._places.hear(topic, message)
        if self._trial is not None:
            self._trial.evidence.hear(topic, message, int(self._node.get_clock().now().nanoseconds))

    def _tick(self) -> None:
        if self._driving:
            if problem := self._problem():
                self.halt(problem)
            self._send()

    def _send(self) -> None:
        with self._lock:
            if not self._driving:  # it has just ended
                return
            commands, trial = dict(self._rest), self._trial
            if trial is not None and not self.halted:
                motion = trial.motion
                commands[motion.action] = command_of(motion, self._rest[motion.action], self._clock() - self._began)
            sent = self._publish(commands)
            if trial is not None:
                trial.times.append(self._node.get_clock().now().nanoseconds / 1e9)
                place, name = trial.motion.place, trial.motion.action
                trial.commands.append(float(sent[name][place] - self._rest[name][place]))

    def _publish(self, commands: Commands) -> Commands:
        """Send them, within limits and rates and unless a fault asks for silence. Returns what is in force."""
        fault = self._guard.fault
        sent = self._guard.limits.apply(commands)
        if fault is None or fault.reaction != "damp":
            self._commander.publish(sent)
        self._heartbeat.beat(fault is None or fault.obeyed)
        return sent

    def _problem(self) -> str:
        """Why the robot must not be moved now; empty if it may."""
        if missing := self._observer.missing():
            return f"no fresh messages from {', '.join(missing)}"
        if rivals := self._outlets.rivals():
            return rivals
        if unheard := self._commander.unheard():
            return f"nobody listens to {', '.join(unheard)} any more"
        try:
            self._guard.inspect(self._observer.sample().observation)
        except ObservationError as error:
            return str(error)
        if fault := self._guard.fault:
            return str(fault)
        trial = self._trial
        if trial is None:
            return ""
        for (quantity, name), now in self._places.now.items():
            went = abs(now - self._before.get((quantity, name), now))
            if went > trial.motion.far:
                return f"{name} went {went:.3g} rad or m from its place, allowed {trial.motion.far:.3g}"
        return ""

    def _stand(self) -> Commands:
        """The commands that hold the robot as it stands."""
        found: Commands = {}
        for action in self._spec.actions:
            shown = standing(self._spec, action)
            if shown is None:
                found[action.name] = action.neutral_command()
                continue
            now = [self._places.now.get((shown.name, name), math.nan) for name in action.command.names]
            place = np.array(now) / si(action.unit)
            low, high = np.asarray(action.low), np.asarray(action.high)
            slack = _SLACK * (high - low)
            for i, name in enumerate(action.command.names):
                if not low[i] - slack[i] <= place[i] <= high[i] + slack[i]:
                    raise ValueError(
                        f"{name} stands at {place[i]:.4g} {action.unit}, outside of action {action.name}'s "
                        f"{low[i]:.4g} to {high[i]:.4g}: lead it back, or mend sign, offset or limits"
                    )
            found[action.name] = np.clip(place, low, high)
        return found


@contextmanager
def wiggling(spec: RobotSpec, namespace: str, sim_time: bool) -> Iterator[Wiggler]:
    """A wiggler with a node and a thread of its own. Signals that end a program interrupt it, and leave no joint in
    motion: nor does a second one, while the robot is led back to rest.
    """
    with own_node(_POLICY, namespace, sim_time) as (node, executor):
        wiggler = Wiggler(node, spec)

        def failed(error: Exception) -> bool:
            wiggler.halt(f"{error!r:.200}")  # of a message that nobody thought of: nothing moves any more
            return True

        with spinning(executor, "wiggle", failed), ended_by(lambda *_: None):
            try:
                with ended_by(signal.default_int_handler):
                    yield wiggler
            finally:
                wiggler.close()
