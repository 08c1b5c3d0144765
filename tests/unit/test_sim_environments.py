"""Adapters: what they show is what the adapted environment shows, described by a RobotSpec."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import register
from numpy.typing import NDArray

from robot_dreamer.spec import SpecError, load_spec
from tests.pictures import taking_pictures

pytest.importorskip("dm_control")
from robot_dreamer.environment import Environment, TimeStep
from sim.environments import make_environment
from sim.physics import CannotRender
from sim.robot import SimRobot
from sim.worlds import load_suite


class Odd(gymnasium.Env[Any, Any]):
    """Every kind of space at once; ends or is cut as it is told."""

    observation_space = spaces.Dict(
        {
            "Camera-Front": spaces.Box(0, 255, (4, 5, 3), np.uint8),
            "grid": spaces.Box(-1, 1, (2, 3), np.float64),
            "height": spaces.Box(0, 1, (), np.float32),
            "ram": spaces.Box(0, 255, (4,), np.uint8),
            "mode": spaces.Discrete(3, start=5),
            "cards": spaces.MultiDiscrete([2, 3]),
            "lamps": spaces.MultiBinary(2),
            "pair": spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (1,))]),
        }
    )
    metadata = {"render_fps": 12}
    shown = {
        "Camera-Front": np.arange(60, dtype=np.uint8).reshape(4, 5, 3),
        "grid": np.arange(6.0).reshape(2, 3),
        "height": np.float32(0.5),
        "ram": np.array([1, 2, 3, 255], np.uint8),
        "mode": 6,
        "cards": np.array([1, 2]),
        "lamps": np.array([0, 1], np.int8),
        "pair": (1, np.array([0.25], np.float32)),
    }

    def __init__(self, action_space: spaces.Space[Any], ending: str = "") -> None:
        self.action_space, self._ending, self.taken = action_space, ending, []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.shown, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.taken.append(action)
        return self.shown, 1.5, self._ending == "terminated", self._ending == "truncated", {}


register("robot_dreamer_tests/Odd-v0", lambda **kw: Odd(**kw), max_episode_steps=7, disable_env_checker=True)


def make_odd(action_space: spaces.Space[Any], ending: str = "", action_repeat: int = 1) -> Environment:
    gymnasium.registry["robot_dreamer_tests/Odd-v0"].kwargs = {"action_space": action_space, "ending": ending}
    return make_environment("gym:robot_dreamer_tests/Odd-v0", seed=0, action_repeat=action_repeat)


def random_commands(environment: Environment, generator: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    commands = {}
    for a in environment.spec.actions:
        if a.discrete:
            action = np.asarray(generator.integers(len(a.values)))
        else:
            action = generator.uniform(-1, 1, a.shape).astype(np.float32)
        commands[a.name] = a.to_command(action)
    return commands


def check_row(environment: Environment, step: TimeStep) -> None:
    expected = {o.name: (o.shape, np.dtype(o.dtype)) for o in environment.spec.observations}
    assert {k: (v.shape, v.dtype) for k, v in step.observation.items()} == expected
    assert isinstance(step.reward, float)


@pytest.mark.parametrize("repeat", [1, 3])
def test_dmc_is_the_suites_own(repeat: int) -> None:
    environment = make_environment("dmc:walker_walk", seed=4, action_repeat=repeat)
    reference = load_suite().load("walker", "walk", task_kwargs={"random": 4})
    assert environment.spec.rate == pytest.approx(40 / repeat)
    assert environment.spec.episode.max_steps == -(-1000 // repeat)
    generator = np.random.default_rng(0)
    shown, step, rows = reference.reset(), environment.reset(), 1
    assert not step.is_last and step.reward == 0
    while not step.is_last:
        commands = random_commands(environment, generator)
        step, reward = environment.step(commands), 0.0
        for _ in range(repeat):
            shown = reference.step(commands["action"])
            reward += shown.reward
            if shown.last():
                break
        rows += 1
        assert step.reward == pytest.approx(reward) and step.is_last == shown.last()
    check_row(environment, step)
    assert rows == environment.spec.episode.max_steps + 1 and not step.is_terminal
    for name, value in shown.observation.items():
        np.testing.assert_array_equal(step.observation[name], np.float32(value).reshape(-1))
    with pytest.raises(RuntimeError, match="reset first"):
        environment.step(commands)
    assert not environment.reset().is_last
    environment.close()


def test_dmc_pixels() -> None:
    environment = make_environment("dmc:cartpole_swingup", seed=0, pixels=True)
    with taking_pictures():
        SimRobot(load_spec("cartpole_camera"), 0).reset()
    step = environment.reset()
    check_row(environment, step)
    assert step.observation["image"].shape == (64, 64, 3) and step.observation["image"].std() > 5


@pytest.mark.parametrize("name, steps, rate", [("gym:CartPole-v1", 500, 50.0), ("gym:Pendulum-v1", 200, 20.0)])
def test_gym_is_its_own(name: str, steps: int, rate: float) -> None:
    environment = make_environment(name, seed=3)
    reference = gymnasium.make(name.removeprefix("gym:"))
    assert (environment.spec.rate, environment.spec.episode.max_steps) == (pytest.approx(rate), steps)
    generator, seed = np.random.default_rng(0), 3
    for _ in range(2):
        shown, _ = reference.reset(seed=seed)
        step, seed = environment.reset(), None
        np.testing.assert_array_equal(step.observation["observation"], shown)
        while not step.is_last:
            commands = random_commands(environment, generator)
            step = environment.step(commands)
            numbers = commands["action"]
            given = int(numbers[0]) if environment.spec.actions[0].discrete else numbers.astype(np.float32)
            shown, reward, terminated, truncated, _ = reference.step(given)
            np.testing.assert_allclose(step.observation["observation"], shown, rtol=1e-6)
            assert step.reward == pytest.approx(float(reward))
            assert (step.is_last, step.is_terminal) == (terminated or truncated, terminated)
        check_row(environment, step)


def test_gym_truncation_is_not_terminal() -> None:
    environment = make_environment("gym:Pendulum-v1", seed=0, action_repeat=3)
    step, length = environment.reset(), 0
    while not step.is_last:
        step, length = environment.step({"action": np.zeros(1)}), length + 1
    assert length == 67 == environment.spec.episode.max_steps and not step.is_terminal


@pytest.mark.parametrize("ending", ["terminated", "truncated"])
def test_gym_spaces(ending: str) -> None:
    environment = make_odd(spaces.Discrete(4, start=-1), ending, action_repeat=2)
    assert environment.spec.name == "gym_robot_dreamer_tests_odd_v0"
    assert (environment.spec.rate, environment.spec.episode.max_steps) == (6.0, 4)
    assert environment.spec.actions[0].values == ((-1.0,), (0.0,), (1.0,), (2.0,))
    step = environment.reset()
    check_row(environment, step)
    shown = {k: v.tolist() for k, v in step.observation.items()}
    assert shown == {
        "camera_front": list(range(60)),  # too small for a picture's network
        "grid": [0, 1, 2, 3, 4, 5],
        "height": [0.5],
        "ram": [1, 2, 3, 255],
        "mode": [0, 1, 0],
        "cards": [0, 1, 0, 0, 1],
        "lamps": [0, 1],
        "pair_0": [0, 1],
        "pair_1": [0.25],
    }
    step = environment.step({"action": np.array([2.0])})
    assert environment._environment.unwrapped.taken == [2]  # the second of the repeated steps is not made
    assert step.reward == 1.5 and step.is_last and step.is_terminal == (ending == "terminated")


@pytest.mark.parametrize(
    "space, commands, taken",
    [
        (spaces.MultiDiscrete([2, 3]), {"action_0": [1], "action_1": [2]}, [1, 2]),
        (spaces.MultiBinary(2), {"action_0": [0], "action_1": [1]}, [0, 1]),
        (
            spaces.Box(np.array([[0.0, -4.0]]), np.array([[1.0, 4.0]]), dtype=np.float64),
            {"action": [0.0, 2.0]},
            [[0, 2]],
        ),
    ],
)
def test_gym_action_spaces(space: spaces.Space[Any], commands: dict[str, Any], taken: list[Any]) -> None:
    environment = make_odd(space)
    environment.reset()
    environment.step({k: np.asarray(v, np.float64) for k, v in commands.items()})
    assert environment._environment.unwrapped.taken[0].tolist() == taken


def test_robot_is_the_simulated_robot() -> None:
    environment = make_environment("robot:cartpole", seed=1)
    step, rows = environment.reset(), 1
    while not step.is_last:
        check_row(environment, step)
        step, rows = environment.step({"force": np.array([0.5])}), rows + 1
    assert rows == 251 and not step.is_terminal
    with pytest.raises(RuntimeError, match="reset first"):
        environment.step({"force": np.zeros(1)})


@pytest.mark.parametrize("name", ["dmc:cheetah_run", "gym:CartPole-v1", "robot:cartpole"])
def test_same_seed_same_episodes(name: str) -> None:
    def run(seed: int) -> list[Any]:
        environment, generator = make_environment(name, seed), np.random.default_rng(0)
        rows = []
        for _ in range(2):
            step = environment.reset()
            for _ in range(8):
                rows.append((step.reward, {k: v.tolist() for k, v in step.observation.items()}))
                step = environment.step(random_commands(environment, generator))
        return rows

    assert run(0) == run(0) != run(1)


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("dmc:walker_fly", {}, ["walker_fly", "walker_walk", "cartpole_swingup"]),
        ("dmc:lqr_lqr_2_1", {}, ["lqr_lqr_2_1", "infinite action bounds"]),
        ("gym:CartPol-v1", {}, ["CartPol-v1", "Did you mean: `CartPole`"]),
        ("gym:no_such_package:Env-v0", {}, ["no_such_package"]),
        ("robot:hexapod", {}, ["hexapod", "cartpole"]),
        (
            "nes:mario",
            {},
            ["nes:mario", "atari:pong", "crafter:reward", "dmc:walker_walk", "gym:CartPole-v1", "robot:cartpole"],
        ),
        ("dmc:walker_walk", {"action_repeat": 0}, ["action_repeat", "0"]),
        ("robot:cartpole", {"action_repeat": 2}, ["action_repeat", "rate"]),
        ("robot:cartpole", {"pixels": True}, ["pixels", "sensor_msgs/msg/Image"]),
        ("gym:CartPole-v1", {"pixels": True}, ["pixels", "dmc:"]),
    ],
)
def test_unknown_or_unfit_environments_are_refused(name: str, options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        make_environment(name, seed=0, **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "space, words",
    [
        (spaces.Box(-np.inf, np.inf, (2,)), ["Odd-v0", "not finite"]),
        (spaces.Text(5), ["Odd-v0", "Text"]),
    ],
)
def test_unfit_gym_actions_are_refused(space: spaces.Space[Any], words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        make_odd(space)
    for word in words:
        assert word in str(caught.value)


def test_where_nothing_can_be_rendered_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an environment as of a robot."""

    def without(*_: Any, **__: Any) -> None:
        raise RuntimeError("No OpenGL rendering backend is available.")

    environment = make_environment("dmc:cartpole_balance", 0, pixels=True)
    monkeypatch.setattr(environment._environment.physics, "render", without)
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(CannotRender, match="backend is available.*MUJOCO_GL is disable.*set MUJOCO_GL=egl"):
        environment.reset()
