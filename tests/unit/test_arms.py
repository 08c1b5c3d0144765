"""The shipped arms can do what they are asked for: controllers that know where things are, through Gymnasium."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("dm_control")
pytest.importorskip("gymnasium")
import gymnasium

import sim.gymnasium_ids  # noqa: F401  (registers the ids)
from robot_dreamer.spec import load_spec
from sim.gym_robot import GymRobot

Arrays = dict[str, Any]


def make(name: str, monkeypatch: pytest.MonkeyPatch) -> GymRobot:
    """Without pictures, at which these controllers do not look."""
    environment = gymnasium.make(name).unwrapped
    assert isinstance(environment, GymRobot)
    black = np.zeros((64, 64, 3), np.uint8)
    monkeypatch.setattr(environment._robot._world, "render", lambda camera, height, width: black)
    monkeypatch.setattr(environment._robot._world, "depth", lambda camera, height, width: np.float32(black[..., :1]))
    return environment


def reached(
    model: mujoco.MjModel, start: NDArray[np.float64], goal: NDArray[np.float64], limits: tuple[tuple[float, ...], ...]
) -> NDArray[np.float64]:
    """Joint positions within limits that bring the SO-101's tip to the goal, by damped least squares."""
    data = mujoco.MjData(model)
    data.qpos[:] = start
    jacobian = np.zeros((3, model.nv))
    for _ in range(100):
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacBody(model, data, jacobian, None, model.body("tip").id)
        error = goal - data.body("tip").xpos
        change = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(3), error)
        data.qpos[:] = np.clip(data.qpos + change, *limits)
    return data.qpos.copy()


def test_so101_reaches_its_goals(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make("robot_dreamer/SO101Reach-v0", monkeypatch)
    action, (model, data) = environment.robot_spec.actions[0], environment._robot.physics
    goals, idle = [], []
    for seed in range(12):
        shown, _ = environment.reset(seed=seed)
        goals.append(shown["goal"])
        idle.append(np.exp(-10 * np.linalg.norm(shown["tip"] - shown["goal"])))
        joints = reached(model, data.qpos.copy(), shown["goal"].astype(np.float64), (action.low, action.high))
        total, truncated = 0.0, False
        while not truncated:
            shown, reward, terminated, truncated, _ = environment.step(action.from_command(joints))
            total += reward
            assert not terminated
        assert np.linalg.norm(shown["tip"] - shown["goal"]) < 0.01
        assert total > 85.0  # of 100
    assert np.std(goals, axis=0).min() > 0.02 and 100 * np.mean(idle) < 40.0


@pytest.mark.parametrize(
    ("name", "thing"), [("robot_dreamer/UR5Pick-v0", "ball"), ("robot_dreamer/XArmPick-v0", "block")]
)
def test_what_lies_in_one_bin_comes_into_the_other(name: str, thing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make(name, monkeypatch)
    for seed in range(6):
        rewards, terminated = pick_and_place(environment, thing, seed)
        assert terminated and [r for r in rewards if r] == [1.0, 10.0]
        low, high = ([box[side] for box in workspace(environment)[1:2]][0] for side in ("low", "high"))
        lies = environment._robot.physics[1].body(thing).xpos
        assert low[0] - 0.05 < lies[0] < high[0] + 0.05 and low[1] - 0.05 < lies[1] < high[1] + 0.05


def test_what_is_dropped_on_the_way_costs_what_its_grasp_was_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make("robot_dreamer/UR5Pick-v0", monkeypatch)
    rewards, terminated = pick_and_place(environment, "ball", seed=0, carry=2)
    assert not terminated and [r for r in rewards if r] == [1.0, -1.0]


def workspace(environment: GymRobot) -> list[dict[str, list[float]]]:
    boxes: list[dict[str, list[float]]] = environment.robot_spec.simulation["cartesian"]["move"]["workspace"]
    return boxes


def pick_and_place(environment: GymRobot, thing: str, seed: int, carry: int = 20) -> tuple[list[float], bool]:
    """Go over the thing, down, close, up, at most `carry` moves to the other bin, down, open. Rewards; did it end?"""
    data = environment._robot.physics[1]
    tip, moves = data.body(environment.robot_spec.simulation["cartesian"]["move"]["body"]), _moves(environment)
    environment.reset(seed=seed)
    rewards: list[float] = []

    def act(direction: tuple[int, int, int], closed: int) -> bool:
        _, reward, terminated, _, _ = environment.step({"move": moves[direction], "gripper": closed})
        rewards.append(reward)
        return terminated

    act((0, 0, 0), 0)
    for axis in (0, 1):
        while abs(off := data.body(thing).xpos[axis] - tip.xpos[axis]) > 0.0205:
            act(tuple(int(np.sign(off)) * (i == axis) for i in range(3)), 0)  # type: ignore[arg-type]
    first, second = (np.mean([box["low"], box["high"]], axis=0) for box in workspace(environment)[:2])
    across = int(np.argmax(np.abs(second - first)))
    ahead = tuple(int(np.sign(second[i] - first[i])) * (i == across) for i in range(3))
    for direction, closed, times in (((0, 0, -1), 0, 2), ((0, 0, 0), 1, 1), ((0, 0, 1), 1, 3)):
        for _ in range(times):
            act(direction, closed)
    for _ in range(carry):
        if abs(tip.xpos[across] - second[across]) > 0.0205:
            act(ahead, 1)  # type: ignore[arg-type]
    act((0, 0, -1), 1)
    return rewards, act((0, 0, 0), 0)


def _moves(environment: GymRobot) -> dict[tuple[int, ...], int]:
    """Direction along each axis -> class of the action `move`."""
    return {tuple(np.sign(row).astype(int)): i for i, row in enumerate(environment.robot_spec.actions[0].values)}


def test_so101_has_the_lengths_that_its_makers_publish() -> None:
    """The tip by their numbers, all joints at zero and each of them bent alone by 0.5 rad, m."""
    spec = load_spec("so101")
    assert spec.folder is not None
    model = mujoco.MjModel.from_xml_path(str(spec.folder / spec.simulation["model"].removeprefix("mjcf:")))
    data = mujoco.MjData(model)
    for joint, tip in (
        (None, (0.3914, 0.0, 0.2265)),
        ("shoulder_pan", (0.348, -0.169, 0.226)),
        ("shoulder_lift", (0.405, 0.0, 0.059)),
        ("elbow_flex", (0.354, 0.0, 0.086)),
        ("wrist_flex", (0.368, 0.0, 0.151)),
    ):
        data.qpos[:] = 0.0
        if joint is not None:
            data.joint(joint).qpos[0] = 0.5
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(data.body("tip").xpos, tip, atol=1e-3)
