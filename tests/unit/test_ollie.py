"""The Ollie: a scripted driver that knows where it is shows that its task can be done; its localisation is lossy."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("dm_control")
from robot_dreamer.spec import load_spec
from sim.robot import SimRobot

GOAL = np.array([0.26, -0.27])
STUCK = 28.0  # power that friction takes


@pytest.fixture
def ollie(monkeypatch: pytest.MonkeyPatch) -> SimRobot:
    robot = SimRobot(load_spec("ollie"), 0)
    monkeypatch.setattr(robot._world, "render", lambda camera, height, width: np.zeros((height, width, 3), np.uint8))
    return robot


def place(robot: SimRobot) -> tuple[np.ndarray, float]:
    """Where it is, m [2], and where it heads, rad."""
    body = robot.physics[1].body("ollie")
    axle = body.xmat.reshape(3, 3)[:, 1]
    return body.xpos[:2].copy(), math.atan2(-axle[0], axle[1])


def power(robot: SimRobot) -> np.ndarray:
    """What a driver gives who sees all: turns, either end first, then drives, less as the goal comes near."""
    position, heading = place(robot)
    far = GOAL - position
    off = math.atan2(far[1], far[0]) - heading
    aside, distance = math.remainder(off, math.pi), float(np.linalg.norm(far))
    if distance < 0.03:
        return np.zeros(2)
    if abs(aside) > 0.3:
        spin = math.copysign(STUCK + abs(aside) / 0.08, aside)
        return np.clip([-spin, spin], -70.0, 70.0)
    ahead = math.copysign(min(70.0, STUCK + 170.0 * distance), math.cos(off))
    return np.clip([ahead - 12.0 * aside, ahead + 12.0 * aside], -70.0, 70.0)


def test_the_place_can_be_reached_and_kept(ollie: SimRobot) -> None:
    for seed in range(4):
        sensors, total = ollie.reset(seed), 0.0
        for step in range(ollie.spec.episode.max_steps):
            sensors = ollie.step({"motors": power(ollie)})
            total += sensors.reward
            assert step < 20 or np.linalg.norm(place(ollie)[0] - GOAL) < 0.08, f"seed {seed}, step {step}"
        assert total > -8.0


def test_it_moves_as_its_motors_turn_and_stays_within_its_walls(ollie: SimRobot) -> None:
    model, _ = ollie.physics
    assert model.body_subtreemass[model.body("ollie").id] == pytest.approx(0.24)
    ollie.reset(1)
    before, heading = place(ollie)
    ollie.step({"motors": np.full(2, STUCK - 10)})
    assert np.linalg.norm(place(ollie)[0] - before) < 0.005  # too little power: its inside swings, it does not roll
    ollie.step({"motors": np.full(2, 50.0)})
    moved = place(ollie)[0] - before
    assert np.linalg.norm(moved) > 0.03
    assert moved @ [math.cos(heading), math.sin(heading)] == pytest.approx(np.linalg.norm(moved), rel=0.01)
    for _ in range(20):
        ollie.step({"motors": np.full(2, 70.0)})
    assert np.abs(place(ollie)[0]).max() < 0.4


def test_its_localisation_is_noisy_and_sometimes_the_last_one(ollie: SimRobot) -> None:
    ollie.reset(2)
    assert set(ollie.drawn) == {"noise", "delay"}
    shown = []
    for _ in range(100):
        sensors = ollie.step({"motors": power(ollie)})
        shown.append(sensors.poses["ball_pose"].position)
        seen = sensors.poses["ball_pose"].position[:2].astype(np.float32)
        assert sensors.reward == pytest.approx(-np.linalg.norm(seen - GOAL), abs=1e-5)
    again = [np.array_equal(a, b) for a, b in zip(shown, shown[1:], strict=False)]
    assert 2 <= sum(again) <= 25  # of a tenth that is lost


def test_the_camera_sees_where_it_is() -> None:
    robot = SimRobot(load_spec("ollie"), 0)
    robot.reset(3)
    picture = robot.step({"motors": np.zeros(2)}).images["camera/image_raw"].astype(int)
    rows, columns = np.nonzero(picture[..., 2] > picture[..., 0] + 60)
    x, y = place(robot)[0]
    metres = 2 * (1.15 - 0.037) * math.tan(math.radians(45 / 2)) / 64  # of a pixel, at its height
    assert columns.mean() == pytest.approx(31.5 + x / metres, abs=1.5)
    assert rows.mean() == pytest.approx(31.5 - y / metres, abs=1.5)
