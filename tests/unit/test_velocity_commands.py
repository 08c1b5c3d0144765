"""Velocities that somebody asks of a simulated robot."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

pytest.importorskip("dm_control")
from robot_dreamer.spec import RobotSpec, SpecError, load_spec
from sim.robot import SimRobot

STILL = {"base": np.zeros(2)}


def changed(robot: str, **simulation: object) -> RobotSpec:
    spec = load_spec(robot)
    again = msgspec.structs.replace(spec, simulation=spec.simulation | simulation)
    again.__dict__["folder"] = spec.folder
    return again


def asked(robot: SimRobot, seed: int, steps: int = 100) -> np.ndarray:
    """What is asked at each tick, [steps, 6]."""
    robot.reset(seed)
    shown = [robot.step(STILL).twists["cmd_vel_wanted"] for _ in range(steps)]
    return np.array([[*twist.linear, *twist.angular] for twist in shown])


def test_velocities_are_drawn_from_their_ranges_anew_every_few_seconds() -> None:
    command = {"x": (-0.1, 0.2), "turn": 1.0, "every": (0.45, 0.95)}
    rows = asked(SimRobot(changed("turtlebot", velocity_commands={"cmd_vel_wanted": command}), 0), seed=0)
    np.testing.assert_array_equal(rows[:, 1:], [[0, 0, 0, 0, 1.0]] * 100)
    assert rows[:, 0].min() >= -0.1 and rows[:, 0].max() <= 0.2 and np.ptp(rows[:, 0]) > 0.1
    changes = np.flatnonzero(np.diff(rows[:, 0])) + 1
    apart = np.diff(changes)  # in ticks of 0.1 s
    assert apart.min() >= 5 and apart.max() <= 10 and apart.min() < apart.max()


def test_what_is_asked_depends_on_the_seed_and_the_number_of_the_episode_alone() -> None:
    robot, other = SimRobot(load_spec("turtlebot"), 1), SimRobot(load_spec("turtlebot"), 2)
    first, second = asked(robot, seed=5), robot.reset().twists["cmd_vel_wanted"]
    np.testing.assert_array_equal(asked(other, seed=5, steps=30), first[:30])
    np.testing.assert_array_equal(other.reset().twists["cmd_vel_wanted"].linear, second.linear)
    assert (asked(robot, seed=6) != first).any()


def test_late_sensors_see_late_what_is_asked() -> None:
    late = {"sensors": {"seconds": [0.2, 0.2]}}
    plain, delayed = (SimRobot(changed("turtlebot", delay=delay), 0) for delay in ({}, late))
    there, seen = asked(plain, seed=5, steps=300), asked(delayed, seed=5, steps=300)  # 30 s; it keeps 11 of them
    np.testing.assert_array_equal(seen[2:], there[:-2])
    assert (seen != there).any()


def test_the_policy_observes_and_the_reward_uses_what_is_asked() -> None:
    command = {"x": 0.1, "every": 9.0}
    robot = SimRobot(changed("turtlebot", velocity_commands={"cmd_vel_wanted": command}), 0)
    robot.reset()
    sensors = [robot.step({"base": np.array([0.1, 0.0])}) for _ in range(10)]
    assert sensors[0].reward < sensors[-1].reward and sensors[-1].reward > 0.95
    assert [robot.step({"base": np.array([-0.1, 0.0])}).reward for _ in range(10)][-1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"velocity_commands": {}}, "velocity 'cmd_vel_wanted': simulation.velocity_commands must say what is sent"),
        ({"velocity_commands": {"cmd_vel_wanted": {"every": (0.0, 1.0)}}}, "every must be positive seconds, found"),
        (
            {"velocity_commands": {"cmd_vel_wanted": {"every": (1.0, 1.0), "x": (0.2, 0.1)}}},
            "x must be a finite number or two",
        ),
        ({"velocity_commands": {"cmd_vel_wanted": {"every": (1.0, 1.0), "z": (0.1, 0.2)}}}, "unknown field `z`"),
    ],
)
def test_what_cannot_be_asked_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        SimRobot(changed("turtlebot", **changes), 0)
