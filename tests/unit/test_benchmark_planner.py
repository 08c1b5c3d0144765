"""The rewards of `benchmarks/planner.py`, written for whole arrays of states, are those of dm_control's tasks."""

import numpy as np
import pytest

from benchmarks.planner import TASKS, Rollouts, States, suite


@pytest.mark.parametrize("name", TASKS)
def test_rewards_of_states(name):
    """In states drawn so that every branch of a reward occurs, near its goal too."""
    task = TASKS[name]
    environment = suite.load(task.domain, task.name, task_kwargs={"random": 1})
    environment.reset()
    physics, model = environment.physics, environment.physics.model.ptr
    rng = np.random.default_rng(0)
    expected, found = [], []
    for _ in range(200):
        position = physics.data.qpos.copy()
        velocity = rng.normal(0, 8, model.nv)
        position += rng.normal(0, 0.05, model.nq)
        if name == "reacher_easy":
            position = rng.uniform(-np.pi, np.pi, 2)
        if name == "cup_catch":  # about the cup
            position[2:4] = position[:2] + [0, 0.35] + rng.uniform(-0.05, 0.05, 2)
        with physics.reset_context():
            physics.data.qpos[:], physics.data.qvel[:] = position, velocity
            physics.data.ctrl[:] = rng.uniform(-1, 1, model.nu)
        data = physics.data
        expected.append(float(environment.task.get_reward(physics)))
        states = States(*(np.array(x)[None] for x in (data.qpos, data.qvel, data.ctrl, data.sensordata)), model)
        found.append(float(task.reward(states)[0]))
    assert found == pytest.approx(expected, abs=1e-9)
    assert max(expected) - min(expected) > 0.1, "the states must tell rewards apart"


@pytest.mark.parametrize("name", ["cheetah_run", "walker_walk"])  # one and ten physics steps in a frame
def test_candidates_are_rolled_out_as_the_environment_would(name):
    task = TASKS[name]
    environment = suite.load(task.domain, task.name, task_kwargs={"random": 1})
    environment.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (1, 5, 6)).astype(np.float32)
    found = Rollouts(environment, task).rewards(actions)[0]
    expected = [[environment.step(action).reward for _ in range(task.repeat)] for action in actions[0]]
    assert found == pytest.approx(np.array(expected), abs=1e-9)
