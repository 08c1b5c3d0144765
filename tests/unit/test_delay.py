"""What comes late: monotone, within its bounds, as often lost as said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_dreamer.spec import load_spec
from tests.pictures import taking_pictures
from tests.varied import varied

pytest.importorskip("dm_control")
from sim.delay import Channel
from sim.robot import SimRobot
from sim.sensors import Sensors
from sim.simulation import Lag

STEP = 0.005
seconds = st.floats(0.0, 0.2)
lags = st.builds(
    lambda low, more, jitter, loss: Lag((low, low + more), jitter, loss), seconds, seconds, seconds, st.floats(0.0, 0.9)
)


@given(lags, st.integers(0, 2**32), st.lists(st.integers(0, 8), min_size=1, max_size=40))
def test_an_older_sample_never_follows_a_newer_one(lag: Lag, seed: int, pauses: list[int]) -> None:
    channel, generator = Channel(lag, STEP), np.random.default_rng(seed)
    drawn = channel.begin(generator)
    assert lag.seconds[0] <= drawn <= lag.seconds[1]
    ticks = np.cumsum(pauses).tolist()
    seen = [channel.seen(now, generator) for now in ticks]
    assert all(0 <= step <= now for step, now in zip(seen, ticks, strict=True)) and seen == sorted(seen)
    channel.begin(generator)
    arrivals = [(now, channel.arrives(now, generator)) for now in ticks]
    there = [(now, step) for now, step in arrivals if step is not None]
    assert all(now <= step <= now + channel.most or step == there[i - 1][1] for i, (now, step) in enumerate(there))
    assert [step for _, step in there] == sorted(step for _, step in there)


def test_without_jitter_and_loss_it_is_the_drawn_time() -> None:
    generator = np.random.default_rng(0)
    channel = Channel(Lag((0.02, 0.02)), STEP)
    channel.begin(generator)
    assert [channel.seen(now, generator) for now in (0, 3, 4, 9, 10)] == [0, 0, 0, 5, 6]
    channel.begin(generator)
    assert [channel.arrives(now, generator) for now in (0, 5, 10)] == [4, 9, 14]


def test_losses_are_as_frequent_as_said() -> None:
    generator = np.random.default_rng(0)
    channel = Channel(Lag(loss=0.3), STEP)
    channel.begin(generator)
    lost = sum(channel.arrives(now, generator) is None for now in range(4000))
    assert 0.27 < lost / 4000 < 0.33
    channel.begin(generator)
    seen = [channel.seen(now, generator) for now in range(4000)]
    assert 0.27 < float(np.mean(np.diff(seen) == 0)) < 0.33


def episode(robot: SimRobot, commands: np.ndarray, seed: int = 3) -> list[Sensors]:
    return [robot.reset(seed), *(robot.step({"drive": command}) for command in commands)]


def positions(shown: list[Sensors]) -> list[list[float]]:
    return [s.joints["joint_states"].position.tolist() for s in shown]


COMMANDS = np.random.default_rng(1).uniform(-1, 1, (12, 3))


def test_late_sensors_show_the_past_and_change_nothing(tmp_path: Path) -> None:
    plain, late = SimRobot(varied(tmp_path), 0), SimRobot(varied(tmp_path, LATE_SENSORS), 0)
    expected, found = episode(plain, COMMANDS), episode(late, COMMANDS)
    assert late.drawn == {"delay": {"sensors": 0.04}}
    assert positions(found)[:3] == [positions(expected)[0]] * 3 and positions(found)[3:] == positions(expected)[1:-2]
    for one, other in zip(found[2:], expected, strict=False):  # all of a robot's sensors, computed from a past state
        np.testing.assert_allclose(one.imus["imu"].orientation, other.imus["imu"].orientation, atol=1e-12)
        np.testing.assert_allclose(one.odometry["odom"].position, other.odometry["odom"].position, atol=1e-12)
    np.testing.assert_array_equal(late.physics[1].qpos, plain.physics[1].qpos)
    assert [s.stamp for s in found] == [s.stamp for s in expected]  # as a driver which stamps what it gets


def test_late_commands_act_later(tmp_path: Path) -> None:
    plain = SimRobot(varied(tmp_path), 0)
    late = SimRobot(varied(tmp_path, "delay: {commands: {seconds: [0.04, 0.04]}}"), 0)
    neutral = np.array([[0.25, 0.0, 0.0]] * 2)
    expected = episode(plain, np.concatenate([neutral, COMMANDS[:-2]]))
    assert positions(episode(late, COMMANDS)) == positions(expected)
    between = SimRobot(varied(tmp_path, "delay: {commands: {seconds: [0.03, 0.03]}}"), 0)  # amid a control period
    assert positions(episode(between, COMMANDS)) != positions(expected)


def test_lost_samples_show_the_last_one_again(tmp_path: Path) -> None:
    robot = SimRobot(varied(tmp_path, "delay: {sensors: {loss: 0.5}}"), 0)
    shown = episode(robot, COMMANDS)
    repeated = [one == other for one, other in zip(positions(shown), positions(shown)[1:], strict=False)]
    assert any(repeated) and not all(repeated)
    assert positions(shown) == positions(episode(robot, COMMANDS)) != positions(episode(robot, COMMANDS, seed=4))


LATE_SENSORS = "delay: {sensors: {seconds: [0.04, 0.04]}}"


@pytest.mark.parametrize(
    ("delay", "words"),
    [
        ("{sensors: {seconds: [0.2, 0.1]}}", "seconds must be two numbers from 0 to 5, found .*delay.sensors"),
        ("{commands: {seconds: [-0.1, 0.1]}}", "seconds must be two numbers.*delay.commands"),
        ("{commands: {jitter: 6.0}}", "jitter must be from 0 to 5 s, found 6.0"),
        ("{commands: {loss: 1.0}}", "loss must be from 0 to below 1, found 1.0"),
        ("{cameras: {loss: 0.1}}", "unknown field `cameras`"),
    ],
)
def test_what_cannot_be_late_is_refused(delay: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        SimRobot(varied(tmp_path, f"delay: {delay}"), 0)


CAMERA = """
rate: 50.0
observations:
  - {name: image, shape: [64, 64, 3], dtype: uint8,
     source: {topic: camera, type: sensor_msgs/msg/Image, field: data}}
"""


def test_late_pictures_are_those_of_the_past(tmp_path: Path) -> None:
    def seeing(simulation: str) -> SimRobot:
        varied(tmp_path, simulation)
        file = tmp_path / "varied.yaml"
        file.write_text(file.read_text().replace("\nrate: 50.0\nobservations:\n", CAMERA))
        return SimRobot(load_spec(file), 0)

    with taking_pictures():
        expected, found = episode(seeing(""), COMMANDS[:4]), episode(seeing(LATE_SENSORS), COMMANDS[:4])
    pictures = [s.images["camera"] for s in expected]
    assert any((one != other).any() for one, other in zip(pictures, pictures[1:], strict=False))
    for late, true in zip(found[2:], pictures, strict=False):
        np.testing.assert_array_equal(late.images["camera"], true)
    dark = seeing(
        "vary: [{quantity: light, range: [0.1, 0.1]}, {quantity: colour, of: upper, how: set, range: [1, 1]}]"
    )
    assert dark.reset(3).images["camera"].mean() < 0.9 * pictures[0].mean()
