"""The A1: it pulls as its inner loop does, its reward is DayDreamer's, and a script that knows how solves its task."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("dm_control")
pytest.importorskip("gymnasium")

from robot_dreamer.spec import load_spec
from sim.gym_robot import GymRobot
from sim.robot import SimRobot
from tests.scripted_a1 import StandUp, Walk

A1 = load_spec("a1")
LEGS = A1.actions[0]


def test_it_weighs_and_measures_what_unitree_says() -> None:
    model, data = SimRobot(A1, 0).physics
    assert model.body_mass.sum() == pytest.approx(12.453)
    hip, thigh, calf = (data.body(f"FL_{part}").xpos for part in ("hip", "thigh", "calf"))
    trunk = data.body("trunk").xpos
    assert abs(hip - trunk)[:2] == pytest.approx([0.1805, 0.047])
    assert np.linalg.norm(thigh - hip) == pytest.approx(0.0838) and np.linalg.norm(calf - thigh) == pytest.approx(0.2)
    assert (model.jnt_actfrcrange[1:] == [-33.5, 33.5]).all()
    for name, low, high in zip(LEGS.command.names, LEGS.low, LEGS.high, strict=True):
        least, most = model.joint(name).range
        assert least < low < high < most


def test_a_far_target_pulls_no_harder_than_one_at_the_tether() -> None:
    robot = SimRobot(A1, 0)
    robot.reset(0)
    kv, pulls = np.tile([1.0, 2.0, 2.0], 4), []
    for command in (np.float64(LEGS.low), np.float64(LEGS.high)) * 10:
        joints = robot.step({"legs": command}).joints["joint_states"]
        pulls.append(joints.effort + kv * joints.velocity)
    assert np.abs(pulls).max() == pytest.approx(80.0 * 0.2, rel=0.1)  # effort is of the physics step before


def daydreamer(position: np.ndarray, up: float, velocity: np.ndarray, forward: np.ndarray) -> float:
    """Its formulas, on joint angles as the spec orders them, and the trunk's velocity and x-axis in the world."""
    low, high = np.float64(LEGS.low), np.float64(LEGS.high)
    angles = np.clip((position - low) / (high - low) * 2 - 1, -1, 1).reshape(4, 3)
    standing = np.array([0.0, -0.2, 1.0])
    miss = np.clip(np.abs(angles - standing) / np.maximum(1 - standing, 1 + standing), 0, 1).mean(0)
    parts = [(up + 1) / 2]
    for part in 1 - miss:
        parts.append(part if parts[-1] > 0.7 else 0.0)
    along = float(velocity[:2] @ forward[:2])
    share = max(0.0, along) / max(float(np.linalg.norm(velocity)), 0.05)
    walking = share * np.clip(along / 0.3, -1, 1) if parts[-1] > 0.7 else 0.0
    return sum(parts) + 5 * walking


def test_its_reward_is_daydreamers() -> None:
    """Less the constant 5, and without its 0/0."""
    robot, generator = SimRobot(A1, 0), np.random.default_rng(0)
    names = LEGS.command.names
    rewards = []
    for seed in (15, 1, 0):  # on its feet, on its tail, on its back
        robot.reset(seed)
        command = LEGS.neutral_command()
        for t in range(60):
            if t > 30 and t % 3 == 0:
                command = LEGS.neutral_command() + generator.normal(0, 0.25, 12)
            sensors = robot.step({"legs": np.clip(command, LEGS.low, LEGS.high)})
            joints = sensors.joints["joint_states"]
            position = joints.position[[joints.names.index(name) for name in names]]
            trunk = robot.physics[1].body("trunk").xmat.reshape(3, 3)
            velocity = trunk @ sensors.odometry["odom"].linear_velocity
            expected = daydreamer(position, trunk[2, 2], velocity, trunk[:, 0])
            assert sensors.reward == pytest.approx(expected, abs=5e-3)
            rewards.append(sensors.reward)
    assert min(rewards) < 0.1 and max(rewards) > 5.0


@pytest.mark.parametrize("name, seeds", [("a1", range(6)), ("a1_stand", (0, 10))])
def test_a_script_stands_it_up_from_any_pose(name: str, seeds: range) -> None:
    environment = GymRobot(name)
    for seed in seeds:
        (shown, _), script, rewards = environment.reset(seed=seed), StandUp(), []
        for _ in range(environment.robot_spec.episode.max_steps):
            shown, reward, *_ = environment.step(LEGS.from_command(script(shown)))
            rewards.append(reward)
        assert min(rewards[-20:]) > 3.8, f"seed {seed}"


def test_a_script_walks_it() -> None:
    environment = GymRobot("a1")
    for seed in (15, 3):  # on its feet, and on its back
        (shown, _), script, rewards = environment.reset(seed=seed), Walk(), []
        for _ in range(250):
            shown, reward, *_ = environment.step(LEGS.from_command(script(shown)))
            rewards.append(reward)
        assert np.mean(rewards[-60:]) > 7.0, f"seed {seed}"


def test_standing_is_the_walking_robots_reward_where_it_stands_still() -> None:
    both = [GymRobot(name) for name in ("a1", "a1_stand")]
    rewards = []
    for environment in both:
        environment.reset(seed=15)
        rewards.append([environment.step(LEGS.from_command(LEGS.neutral_command()))[1] for _ in range(60)])
    assert rewards[0][-1] == pytest.approx(rewards[1][-1], abs=1e-3) and rewards[1][-1] > 3.9
    assert all(walking >= standing - 1e-6 for walking, standing in itertools.islice(zip(*rewards, strict=True), 60))
    assert Path(A1.simulation["model"].removeprefix("mjcf:")).name == "a1.xml"
