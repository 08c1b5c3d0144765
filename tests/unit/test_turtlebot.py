"""The TurtleBot: its numbers, and scripted drivers that show that both of its tasks can be done."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("dm_control")
from robot_dreamer.spec import ROBOTS_DIRECTORY, SpecError, load_spec
from sim.robot import SimRobot
from sim.sensors import Sensors, observe


def driven(robot: SimRobot, forward: float, turn: float, ticks: int = 20) -> Sensors:
    for _ in range(ticks):
        sensors = robot.step({"base": np.array([forward, turn])})
    return sensors


@pytest.fixture
def base() -> SimRobot:
    robot = SimRobot(load_spec("turtlebot"), 0)
    robot.reset()
    return robot


def test_it_weighs_and_measures_what_a_burger_does(base: SimRobot) -> None:
    model, data = base.physics
    assert model.body_subtreemass[model.body("base").id] == pytest.approx(1.0)
    left, right = data.body("wheel_left").xpos, data.body("wheel_right").xpos
    assert np.linalg.norm(left - right) == pytest.approx(0.160, abs=1e-6)
    sensors = driven(base, 0.2, 0.0)
    assert data.joint("wheel_left_joint").qvel[0] * 0.033 == pytest.approx(0.2, rel=0.05)
    assert sensors.odometry["odom"].linear_velocity[0] == pytest.approx(0.2, rel=0.05)
    assert abs(sensors.odometry["odom"].position[2]) < 0.001  # it stands on its wheels and its caster


@pytest.mark.parametrize(("forward", "turn"), [(0.2, 0.0), (-0.2, 0.0), (0.0, 1.5), (0.0, -1.5), (0.15, 1.0)])
def test_it_drives_as_a_twist_says(base: SimRobot, forward: float, turn: float) -> None:
    seen = driven(base, forward, turn).odometry["odom"]
    assert seen.linear_velocity[0] == pytest.approx(forward, abs=0.02)
    assert seen.angular_velocity[2] == pytest.approx(turn, abs=0.2)


def follow(robot: SimRobot, seed: int, give: float) -> float:
    """Return of a driver that hands the velocity command on, times `give`."""
    spec, sensors, total = robot.spec, robot.reset(seed), 0.0
    for _ in range(spec.episode.max_steps):
        seen = observe(spec, sensors)
        sensors = robot.step({"base": give * np.array([seen["wanted_velocity"][0], seen["wanted_turning"][2]])})
        total += sensors.reward
    return total


def test_the_velocity_command_can_be_followed(base: SimRobot) -> None:
    for seed in (1, 2):
        handed_on = follow(base, seed, 1.0)
        assert handed_on > 160.0 > 80.0 > follow(base, seed, 0.0)
        assert handed_on > follow(base, seed, 0.5) + 20.0


def test_the_goal_can_be_reached() -> None:
    """Turn towards it, then drive."""
    spec = load_spec("turtlebot_goal")
    robot = SimRobot(spec, 0)
    for seed in range(5):
        sensors, steps = robot.reset(seed), 0
        while not sensors.terminal:
            seen = observe(spec, sensors)
            (x, y), (_, _, z, w) = seen["goal"][:2] - seen["place"][:2], seen["heading"]
            off = math.remainder(math.atan2(y, x) - 2 * math.atan2(z, w), 2 * math.pi)
            sensors, steps = (
                robot.step({"base": np.array([0.22 if abs(off) < 0.5 else 0.0, np.clip(2 * off, -1.5, 1.5)])}),
                steps + 1,
            )
            assert steps <= 60, f"seed {seed} has not arrived"


def test_a_twist_is_not_for_wheels(tmp_path: Path) -> None:
    model = (ROBOTS_DIRECTORY.parents[1] / "sim/models/turtlebot.xml").read_text()
    for name, wheel in (("forward", "wheel_left_joint"), ("turn", "wheel_right_joint")):
        model = model.replace(f'name="{name}" tendon="{name}"', f'name="{name}" joint="{wheel}"')
    (tmp_path / "wheels.xml").write_text(model)
    text = (ROBOTS_DIRECTORY / "turtlebot.yaml").read_text()
    (tmp_path / "wheels.yaml").write_text(text.replace("mjcf:../../sim/models/turtlebot.xml", "mjcf:wheels.xml"))
    with pytest.raises(SpecError, match=r"action 'base': linear\.x is in m/s, and 'forward' turns"):
        SimRobot(load_spec(tmp_path / "wheels.yaml"), 0)
