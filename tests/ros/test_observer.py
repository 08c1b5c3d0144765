"""Samples that are assembled from messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from robot_dreamer.onboard.encoding import ObservationError
from robot_dreamer.onboard.observer import Observer
from robot_dreamer.record import reward_problem
from robot_dreamer.spec import parse_spec
from tests.onboard_models import TOY, toy_spec
from tests.ros.fake_robot import joint_state


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def show(
    observer: Observer, tick: int, reward: float = 1.0, terminal: float = 0.0, topics: str = "joint_states task"
) -> None:
    stamp = tick * 1_000_000
    if "joint_states" in topics:
        observer.receive("joint_states", joint_state(stamp, ["hinge"], [np.pi / 2], [float(tick)]))
    if "task" in topics:
        observer.receive("task", joint_state(stamp, ["reward", "terminal"], [reward, terminal]))


def test_sample_is_assembled_by_the_spec() -> None:
    observer = Observer(toy_spec())
    assert observer.topics == {"joint_states": "sensor_msgs/msg/JointState", "task": "sensor_msgs/msg/JointState"}
    show(observer, 7, reward=0.5, terminal=1.0)
    sample = observer.sample()
    np.testing.assert_allclose(sample.observation["angle"], [0, 1], atol=1e-6)
    np.testing.assert_array_equal(sample.observation["speed"], [7])
    assert (sample.reward, sample.terminal, sample.stamp) == (0.5, True, 7_000_000)


def test_rewards_between_two_samples_are_summed_once() -> None:
    observer = Observer(toy_spec())
    for tick in (1, 2, 2, 3):  # two with one stamp
        show(observer, tick, reward=float(tick))
    assert observer.sample().reward == 8.0
    assert observer.stalled == 0
    assert observer.sample().reward == 0.0
    assert observer.stalled == 1
    show(observer, 4)
    observer.forget()
    show(observer, 5, reward=2.0)
    assert observer.sample().reward == 2.0


def test_ages_and_missing_topics() -> None:
    clock = Clock()
    observer = Observer(toy_spec(), clock=clock)
    assert observer.missing() == ["joint_states (no message yet)", "task (no message yet)"]
    show(observer, 1)
    assert observer.missing() == []
    clock.now = 0.4
    show(observer, 2, topics="task")
    clock.now = 0.6
    assert observer.missing() == ["joint_states (silent for 0.6 s, allowed 0.5 s)"]


def test_a_robot_that_does_not_learn_needs_no_reward() -> None:
    observer = Observer(toy_spec(), need_reward=False)
    show(observer, 1, topics="joint_states")
    assert observer.missing() == []
    sample = observer.sample()
    assert (sample.reward, sample.terminal) == (0.0, False)


def test_late_messages_are_dropped_and_a_clock_that_began_again_is_not() -> None:
    observer = Observer(toy_spec())
    show(observer, 5000)
    show(observer, 4999)
    assert observer.counters()["late"] == 1 and observer.sample().observation["speed"][0] == 5000
    show(observer, 1)
    assert observer.clock_jumps == 0
    show(observer, 2)  # it agrees
    assert observer.clock_jumps == 1 and observer.sample().observation["speed"][0] == 2
    lockstep = Observer(toy_spec(), lockstep=True)
    show(lockstep, 5000)
    show(lockstep, 4999)
    assert (lockstep.counters()["late"], lockstep.clock_jumps) == (0, 2)


def test_common_stamp() -> None:
    observer = Observer(toy_spec(), lockstep=True)
    assert observer.common_stamp() is None
    show(observer, 1, topics="task")
    assert observer.common_stamp() is None
    show(observer, 1, topics="joint_states")
    assert observer.common_stamp() == 1_000_000
    show(observer, 2, topics="task")
    assert observer.common_stamp() is None


def test_nonsense_is_named() -> None:
    observer = Observer(toy_spec())
    show(observer, 1, terminal=float("nan"))
    with pytest.raises(ObservationError, match="topic task: terminal"):
        observer.sample()
    show(observer, 2)
    observer.receive("joint_states", joint_state(3_000_000, ["hinge"], [float("nan")], [0.0]))
    with pytest.raises(ObservationError, match="observation angle: expected finite numbers"):
        observer.sample()


def test_one_topic_cannot_have_two_types() -> None:
    spec = TOY.replace("topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]", "topic: imu, "
                       "type: sensor_msgs/msg/JointState, field: position, names: [reward]")  # fmt: skip
    gyro = "{name: gyro, shape: [3], source: {topic: imu, type: sensor_msgs/msg/Imu, field: angular_velocity}}"
    with pytest.raises(ValueError, match="topic imu: the spec names two types"):
        Observer(parse_spec(spec.replace("actions:", f"  - {gyro}\nactions:")))


def pulses(observer: Observer, *terminals: float) -> None:
    """Messages of the task, of one sensor period."""
    for terminal in terminals:
        observer.receive("task", joint_state(0, ["reward", "terminal"], [1.0, terminal]))


@pytest.mark.parametrize("at", range(4))
def test_a_terminal_pulse_ends_with_the_row_that_holds_its_reward(at: int) -> None:
    observer = Observer(toy_spec())
    show(observer, 1)
    assert not observer.sample(begins=True).terminal
    pulses(observer, *(float(n == at) for n in range(4)))
    sample = observer.sample()
    assert (sample.reward, sample.terminal) == (4.0, True)
    pulses(observer, 0.0)
    assert not observer.sample().terminal


def test_a_terminal_pulse_before_the_first_row_ends_nothing_and_one_that_is_still_up_does() -> None:
    observer = Observer(toy_spec())
    show(observer, 1)
    pulses(observer, 1.0, 0.0)
    assert not observer.sample(begins=True).terminal
    pulses(observer, 0.0, 1.0)
    assert observer.sample(begins=True).terminal
    pulses(observer, 0.0)
    assert not observer.sample(begins=True).terminal


def test_a_terminal_of_its_own_topic_and_one_shared_with_a_sensor() -> None:
    flag = "{topic: TOPIC, type: sensor_msgs/msg/JointState, field: effort, names: [fallen]}"
    observer = Observer(toy_spec(terminal=flag.replace("TOPIC", "flags")))
    show(observer, 1)
    up, down = (JointState(name=["fallen"], effort=[x]) for x in (1.0, 0.0))
    observer.receive("flags", down)
    assert not observer.sample().terminal
    for message in (down, up, down):
        observer.receive("flags", message)
    assert observer.sample().terminal and not observer.sample().terminal

    observer = Observer(toy_spec(terminal=flag.replace("TOPIC", "joint_states")))
    show(observer, 1, topics="task")
    for tick, fallen in ((2, 0.0), (3, 1.0), (4, 0.0)):
        message = joint_state(tick * 1_000_000, ["hinge", "fallen"], [0.0, 0.0], [0.0, 0.0])
        message.effort = [0.0, fallen]
        observer.receive("joint_states", message)
    assert observer.sample().terminal and not observer.sample().terminal


@pytest.mark.parametrize("stamps", [(5, 5, 5), (7, 6, 5), (0, 0, 0), (9, 5, 9)])
def test_rewards_count_once_in_whatever_order_and_with_whatever_stamp(stamps: tuple[int, ...]) -> None:
    observer = Observer(toy_spec())
    show(observer, 1, topics="joint_states")
    for stamp in stamps:
        observer.receive("task", joint_state(stamp * 10**9, ["reward", "terminal"], [1.0, 0.0]))
    assert observer.sample().reward == 3.0 and observer.sample().reward == 0.0


def test_rewards_from_before_a_reset_count_for_nothing_however_late_they_come() -> None:
    observer = Observer(toy_spec())
    show(observer, 5000)
    observer.forget(6000 * 1_000_000)
    show(observer, 5010, reward=7.0, terminal=1.0)
    show(observer, 6000)
    show(observer, 5020, reward=7.0, terminal=1.0)
    sample = observer.sample()
    assert (sample.reward, sample.terminal) == (1.0, False)


@pytest.mark.parametrize("reward", [math.nan, math.inf, 1e300])
def test_without_a_learner_the_reward_is_not_judged_and_terminal_is(reward: float) -> None:
    observer = Observer(toy_spec(), need_reward=False)
    show(observer, 1, reward=reward)
    show(observer, 2, reward=2.0, terminal=1.0)
    sample = observer.sample()
    assert (sample.reward, sample.terminal) == (2.0, True)
    assert observer.judge.unused == 1 and "topic task: reward: expected" in observer.judge.problem
    observer.receive("task", joint_state(3, ["score", "terminal"], [1.0, 0.0]))
    assert observer.sample().reward == 0.0 and "joint reward is missing" in observer.judge.problem
    show(observer, 4, terminal=math.nan)
    with pytest.raises(ObservationError, match="terminal"):
        observer.sample()


def test_rewards_whose_sum_no_row_can_hold() -> None:
    observer = Observer(toy_spec())
    for tick in (1, 2):
        show(observer, tick, reward=3e38)
    assert reward_problem(observer.sample().reward) == "reward: expected a number that float32 can hold, found 6e+38"


def test_rewards_from_before_an_episode_do_not_add_up() -> None:
    """A robot that nobody drove for minutes would begin with a sum that is outside of its reward_range."""
    observer = Observer(toy_spec())
    observer.receive("task", joint_state(0, ["score"], [1.0]))  # nor is one that nobody can read held against it
    for tick in range(1, 2000):
        show(observer, tick, reward=math.nan if tick == 7 else 0.5)
    assert observer.sample(begins=True).reward == 0.5
    for tick in (2000, 2001):
        show(observer, tick, reward=0.5)
    assert observer.sample().reward == 1.0
    show(observer, 2002, reward=math.nan)  # these rewards are of no use: no episode begins
    assert math.isnan(observer.sample(begins=True).reward)
