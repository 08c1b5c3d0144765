"""The simulated robot node: lockstep without a lost or doubled step, realtime without waiting, resets."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("dm_control")
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray
from std_srvs.srv import Trigger

from robot_dreamer.onboard.command_codec import make_writer
from robot_dreamer.onboard.messages import stamp_of
from robot_dreamer.ros_types import new_message
from robot_dreamer.spec import Command, RobotSpec, load_spec
from sim.robot import SimRobot
from tests.ros.sim_bench import Bench

SPEC = load_spec("cartpole")
PERIOD = 40_000_000  # ns
FINGER = """
name: finger
rate: 50.0
observations:
  - {name: joints, shape: [2],
     source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: position, names: [distal, proximal]}}
actions:
  - {name: far, low: [-1], high: [1], command: {topic: far, names: [distal]}}
  - {name: near, low: [-1], high: [1], command: {topic: near, names: [proximal]}}
reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}
episode: {max_steps: 100}
simulation: {model: "dm_control:finger/spin"}
"""


class Client(Node):
    """What stands on the other side: keeps all messages, sends commands by hand."""

    def __init__(self, context: Any, spec: RobotSpec, on_sensors: Callable[[Client, int], None] | None = None) -> None:
        super().__init__("client", context=context)
        self.joints: dict[int, JointState] = {}
        self.task: dict[int, JointState] = {}
        self.clock: list[int] = []
        self.heard = 0  # complete sets, repeated ones too
        self._on_sensors, self._latest = on_sensors, {}
        qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(JointState, "joint_states", lambda m: self._receive("joints", m), qos)
        self.create_subscription(JointState, "task", lambda m: self._receive("task", m), qos)
        self.create_subscription(
            Clock, "/clock", lambda m: self.clock.append(m.clock.sec * 10**9 + m.clock.nanosec), qos
        )
        self.senders = {a.name: self.create_publisher(Float64MultiArray, a.command.topic, 1) for a in spec.actions}
        self.resetter = self.create_client(Trigger, spec.episode.reset_service or "reset")

    @property
    def stamp(self) -> int:
        """The latest that both topics have shown."""
        return max(self.joints.keys() & self.task.keys(), default=0)

    def send(self, *numbers: float, label: str = "", action: str = "force") -> None:
        writer = make_writer(Command("c"), len(numbers), 0.04, new_message)
        writer.fill(np.array(numbers, np.float64), int(label or 0), 0)
        self.senders[action].publish(writer.messages[0])

    def _receive(self, kind: str, message: JointState) -> None:
        stamp = stamp_of(message)
        getattr(self, kind)[stamp] = message
        self._latest[kind] = stamp
        if len(set(self._latest.values())) == 1 and len(self._latest) == 2:
            self.heard += 1
            if self._on_sensors is not None:
                self._on_sensors(self, stamp)


@pytest.fixture
def bench(ros: Any) -> Iterator[Bench]:
    bench = Bench(ros)
    yield bench
    bench.stop()


def make_client(bench: Bench, spec: RobotSpec, on_sensors: Callable[[Client, int], None] | None = None) -> Client:
    return bench.ros.add(Client(bench.ros.context, spec, on_sensors))


def action_at(stamp: int) -> float:
    return float(np.sin(stamp / PERIOD))


def test_lockstep_with_losses_both_ways_makes_every_step_once(bench: Bench) -> None:
    steps, lost = 60, random.Random(1)

    def answer(client: Client, stamp: int) -> None:
        """A repeated stamp gets the same answer again. Some answers are lost."""
        if len(client.joints.keys() & client.task.keys()) <= steps and lost.random() > 0.3:
            client.send(action_at(stamp), label=str(stamp))

    robot = bench.robot(loss=0.3, retry_time=0.02, seed=7)
    client = make_client(bench, SPEC, answer)
    bench.ros.until(lambda: robot.counters.steps == steps and client.stamp == robot._sensors.stamp, "all steps")
    counters = robot.counters
    assert counters.steps == steps and counters.dropped > 10 and counters.retries > 10
    assert (counters.rejected, counters.unlabelled, counters.resets) == (0, 0, 0)

    reference = SimRobot(SPEC, seed=7)
    expected = [reference.reset()]
    for _ in range(steps):
        expected.append(reference.step({"force": np.array([action_at(expected[-1].stamp)])}))
    assert sorted(client.joints.keys() & client.task.keys()) == [sensors.stamp for sensors in expected]
    for sensors in expected:
        seen = client.joints[sensors.stamp]
        assert list(seen.name) == ["slider", "hinge_1"]
        np.testing.assert_array_equal(seen.position, sensors.joints["joint_states"].position)
        np.testing.assert_array_equal(seen.velocity, sensors.joints["joint_states"].velocity)
        np.testing.assert_array_equal(client.task[sensors.stamp].position, [sensors.reward, 0.0])


def test_lockstep_takes_each_answer_once_and_counts_what_it_ignores(bench: Bench) -> None:
    robot = bench.robot(retry_time=0.05)
    client = make_client(bench, SPEC)
    bench.ros.until(lambda: client.stamp, "first sensors")
    first = client.stamp

    client.send(1.0, label=str(first - PERIOD))
    bench.ros.until(lambda: robot.counters.stale == 1, "a command with another stamp is counted")
    client.send(1.0, 2.0, label=str(first))
    bench.ros.until(lambda: robot.counters.rejected == 1, "a command of wrong length is counted")
    client.send(np.nan, label=str(first))
    bench.ros.until(lambda: robot.counters.rejected == 2, "NaN is counted")
    assert robot.counters.steps == 0

    client.send(1.0, label=str(first))
    bench.ros.until(lambda: client.stamp == first + PERIOD, "one step")
    client.send(1.0, label=str(first))
    bench.ros.until(lambda: robot.counters.stale == 2, "the same answer again is counted")
    assert robot.counters.steps == 1

    client.send(1.0)
    bench.ros.until(lambda: client.stamp == first + 2 * PERIOD, "a command without a label is an answer too")
    assert (robot.counters.unlabelled, robot.counters.steps) == (1, 2)
    bench.ros.until(lambda: client.clock[-1] == client.stamp, "the clock")
    assert client.clock == sorted(client.clock)


def test_lockstep_waits_for_all_actions(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "finger.yaml"
    path.write_text(FINGER)
    robot = bench.robot(robot=str(path), retry_time=0.02)
    client = make_client(bench, load_spec(path))
    bench.ros.until(lambda: client.stamp, "first sensors")
    first = client.stamp
    client.send(0.5, label=str(first), action="near")
    retries = robot.counters.retries
    bench.ros.until(lambda: robot.counters.retries > retries + 2, "it goes on asking")
    assert robot.counters.steps == 0
    client.send(-0.5, label=str(first), action="far")
    bench.ros.until(lambda: client.stamp > first, "the step")
    reference = SimRobot(robot.spec, seed=0)
    reference.reset()
    expected = reference.step({"near": np.array([0.5]), "far": np.array([-0.5])}).joints["joint_states"]
    np.testing.assert_array_equal(client.joints[client.stamp].position, expected.position)
    assert set(client.joints[client.stamp].name) == {"proximal", "distal", "hinge"}


def test_lockstep_goes_on_when_another_policy_takes_over(bench: Bench) -> None:
    robot = bench.robot(retry_time=0.05)
    first = make_client(bench, SPEC, lambda client, stamp: client.send(0.1, label=str(stamp)))
    bench.ros.until(lambda: robot.counters.steps > 5, "steps with the first policy")
    first._on_sensors = None
    steps = robot.counters.steps
    bench.ros.spin(0.2)
    assert robot.counters.steps <= steps + 1  # an answer may have been under way
    second = make_client(bench, SPEC, lambda client, stamp: client.send(0.1, label=str(stamp)))
    bench.ros.until(lambda: robot.counters.steps > steps + 5, "steps with the second policy")
    assert second.heard > 0


def test_lockstep_speed_limit(bench: Bench) -> None:
    robot = bench.robot(speed=2)  # 50 steps a second
    client = make_client(bench, SPEC, lambda client, stamp: client.send(0.1, label=str(stamp)))
    bench.ros.until(lambda: client.heard, "first sensors")
    before, since = robot.counters.steps, time.monotonic()
    bench.ros.until(lambda: robot.counters.steps >= before + 20, "steps")
    steps = robot.counters.steps - before
    assert steps <= 50 * (time.monotonic() - since) + 2


@pytest.mark.parametrize("clock", ["lockstep", "realtime"])
def test_reset_begins_an_episode_later_in_time(bench: Bench, clock: str) -> None:
    robot = bench.robot(clock=clock, retry_time=0.05, seed=3)
    client = make_client(bench, SPEC, lambda client, stamp: client.send(1.0, label=str(stamp)))
    bench.ros.until(lambda: robot.counters.steps > 20 and client.resetter.service_is_ready(), "some steps")
    client._on_sensors = None
    future = client.resetter.call_async(Trigger.Request())
    bench.ros.until(future.done, "an answer")
    assert future.result().success
    first = int(future.result().message)
    bench.ros.until(lambda: first in client.joints and first in client.task, "the first sensors")
    stamps = sorted(client.joints)
    assert first - stamps[stamps.index(first) - 1] >= 1_000_000_000  # no gap of a lost message is as long

    reference = SimRobot(SPEC, seed=3)
    reference.reset()
    expected = reference.reset()  # the second episode of this seed
    np.testing.assert_array_equal(client.joints[first].position, expected.joints["joint_states"].position)
    assert list(client.task[first].position) == [0.0, 0.0]
    assert robot.counters.resets == 1


def test_realtime_waits_for_nobody_and_holds_the_last_command(bench: Bench) -> None:
    robot = bench.robot(clock="realtime", seed=2)
    client = make_client(bench, SPEC)
    bench.ros.until(lambda: len(client.joints) > 5, "sensors without a command")
    client.send(0.7)
    bench.ros.until(lambda: list(client.joints[max(client.joints)].effort)[0] != 0, "the command acts")
    seen = len(client.joints)
    bench.ros.until(lambda: len(client.joints) > seen + 5, "sensors after one command")

    reference = SimRobot(SPEC, seed=2)
    sensors, held, compared = reference.reset(), 0.0, 0
    last = max(client.joints)
    while sensors.stamp <= last:
        if sensors.stamp in client.joints:
            np.testing.assert_array_equal(
                client.joints[sensors.stamp].position, sensors.joints["joint_states"].position
            )
            compared += 1
        effort = client.joints.get(sensors.stamp + PERIOD)
        if effort is not None and effort.effort[0] != 0:
            held = 0.7  # neutral before the command, the command ever after
        sensors = reference.step({"force": np.array([held])})
    assert held == 0.7 and compared > 10
    assert (robot.counters.retries, robot.counters.stale) == (0, 0)


def test_a_reset_forgets_the_command_of_each_joint(bench: Bench, tmp_path: Path) -> None:
    """Joints with a topic of their own too: the first command of one must not bring back its neighbour's old one."""
    fingers = "  - {name: fingers, low: [-1, -1], high: [1, 1], command: {topic: '{name}/command', "
    fingers += "type: std_msgs/msg/Float64, names: [distal, proximal]}}\n"
    first, last = FINGER.index("  - {name: far"), FINGER.index("reward:")
    text = FINGER[:first] + fingers + FINGER[last:]
    (tmp_path / "finger.yaml").write_text(text.replace("100}", "100, reset_service: reset}"))
    robot = bench.robot(robot=str(tmp_path / "finger.yaml"), clock="realtime")
    client = bench.ros.add(Node("client", context=bench.ros.context))
    senders = {joint: client.create_publisher(Float64, f"{joint}/command", 1) for joint in ("distal", "proximal")}
    reset = client.create_client(Trigger, "reset")

    def commanded(joint: str) -> list[float]:
        senders[joint].publish(Float64(data=0.5))
        return robot._commands.get("fingers", np.zeros(2)).tolist()

    bench.ros.until(lambda: commanded("distal") == [0.5, 0.0], "the one")
    bench.ros.until(reset.service_is_ready, "the reset")
    bench.ros.spin(0.2)  # nothing is on its way any more
    answer = reset.call_async(Trigger.Request())
    bench.ros.until(lambda: answer.done() and robot.counters.resets == 1, "the reset")
    bench.ros.until(lambda: commanded("proximal")[1] == 0.5, "the other")
    assert commanded("proximal") == [0.0, 0.5]


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"robot": "hexapod"}, ["hexapod", "cartpole"]),
        ({"robot": "xarm_pick", "clock": "realtime"}, ["camera/color/image_raw", "once in 2 s", "0.5 s", "lockstep"]),
        ({"clock": "sundial"}, ["clock", "lockstep", "realtime", "sundial"]),
        ({"loss": 1.5}, ["loss", "0.99", "1.5"]),
        ({"retry_time": 0}, ["retry_time", "0.001"]),
        ({"speed": "fast"}, ["speed", "fast"]),
    ],
)
def test_wrong_parameters_are_refused(bench: Bench, parameters: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        bench.robot(**parameters)
    for word in words:
        assert word in str(caught.value)
