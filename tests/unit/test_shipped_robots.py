"""All that a shipped simulated robot owes: Gymnasium's interface, seeds, bounds, steadiness, and its page."""

from __future__ import annotations

import dataclasses
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("dm_control")
pytest.importorskip("gymnasium")

import gymnasium
from gymnasium.utils.env_checker import check_env

from robot_dreamer.commands.startable import require_startable
from robot_dreamer.processes import Options
from robot_dreamer.spec import ROBOTS_DIRECTORY, RobotSpec, SpecError, known_robots, load_spec, parse_spec
from sim.gymnasium_ids import ANY, IDS
from sim.robot import SimRobot
from sim.sensors import Sensors, observe, require_realtime
from tests.onboard_models import TOY

SIMULATED = [name for name in known_robots() if load_spec(name).simulation]
PAGE = (Path(__file__).parents[2] / "docs/robots.md").read_text()
MODELS = {load_spec(name).simulation["model"]: name for name in reversed(SIMULATED)}  # one robot of each
STEPS = [(2_000, 50_000), pytest.param(10_000, sys.maxsize, marks=pytest.mark.soak)]
"""Decisions, and at most so many steps of the physics: a robot that decides twice a second makes fewer of them."""


def commands(spec: RobotSpec, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Anything that the robot may be told."""
    return {
        a.name: a.to_command(generator.integers(len(a.values)) if a.discrete else generator.uniform(-1, 1, a.size))
        for a in spec.actions
    }


def blind(robot: SimRobot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Black pictures: rendering would take most of the time."""
    monkeypatch.setattr(robot._world, "render", lambda camera, height, width: np.zeros((height, width, 3), np.uint8))
    monkeypatch.setattr(robot._world, "depth", lambda camera, height, width: np.zeros((height, width, 1), np.float32))


def flat(sensors: Sensors) -> list[bytes]:
    """All that the sensors say, time aside."""
    topics = [
        list(reading.values()) if isinstance(reading, dict) else [reading]
        for _, _, reading in ((t, k, _fields(r)) for t, k, r in sensors.by_topic())
    ]
    numbers = [np.asarray(x).tobytes() for parts in topics for x in parts if x is not None]
    return [*numbers, np.float64([sensors.reward, sensors.terminal]).tobytes()]


def _fields(reading: Any) -> Any:
    if isinstance(reading, np.ndarray):
        return reading
    return {f.name: getattr(reading, f.name) for f in dataclasses.fields(reading)}


def test_each_has_an_id() -> None:
    assert sorted(IDS.values()) == SIMULATED


@pytest.mark.parametrize("name", IDS)
def test_gymnasiums_checker_passes(name: str) -> None:
    environment = gymnasium.make(name, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*Box observation space (min|max)imum value is -?infinity.*")
        check_env(environment.unwrapped)
    environment.close()


@pytest.mark.parametrize("name", SIMULATED)
def test_it_shows_what_its_spec_says_and_the_same_to_the_last_bit_by_the_same_seed_and_commands(name: str) -> None:
    def run(robot: SimRobot, seed: int) -> list[list[bytes]]:
        generator = np.random.default_rng(1)
        shown = [flat(robot.reset(seed))]
        shown += [flat(robot.step(commands(robot.spec, generator))) for _ in range(5)]
        shown.append(flat(robot.reset()))
        return shown + [flat(robot.step(commands(robot.spec, generator))) for _ in range(3)]

    robot = SimRobot(load_spec(name), seed=7)
    first = run(robot, 3)
    assert run(robot, 3) == first == run(SimRobot(load_spec(name), seed=0), 3)
    assert run(robot, 4) != first
    shown = observe(robot.spec, robot.step({a.name: a.neutral_command() for a in robot.spec.actions}))
    expected = {o.name: (o.shape, np.dtype(o.dtype)) for o in robot.spec.quantities}
    assert {name: (value.shape, value.dtype) for name, value in shown.items()} == expected


@pytest.mark.parametrize(("decisions", "physics"), STEPS)
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", MODELS.values())
def test_random_steps(name: str, decisions: int, physics: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing diverges, all is finite, and rewards are within what the spec says (of dm_control: 0 to 1 a step)."""
    spec = load_spec(name)
    robot, generator = SimRobot(spec, seed=0), np.random.default_rng(0)
    blind(robot, monkeypatch)
    low, high = spec.reward_range or (0.0, float(robot.control_steps))
    rewards = np.zeros(min(decisions, physics // robot.control_steps))
    sensors, steps = robot.reset(), 0
    for i in range(len(rewards)):
        if sensors.terminal or steps == spec.episode.max_steps:
            sensors, steps = robot.reset(), 0
        sensors, steps = robot.step(commands(spec, generator)), steps + 1
        rewards[i] = sensors.reward
        assert all(np.isfinite(x).all() for x in observe(spec, sensors).values())
    assert low <= rewards.min() and rewards.max() <= high
    assert rewards.std() > 0


@pytest.mark.parametrize("name", ["varied", "hidden"])
def test_the_page_of_the_a1_names_robots_of_its_contract_that_differ_in_simulation(name: str) -> None:
    shipped, other = load_spec("a1_stand"), load_spec(str(Path(__file__).parents[2] / f"docs/a1/{name}.yaml"))
    assert other.hash == shipped.hash
    robot = SimRobot(other, seed=3)
    robot.reset()
    assert {"friction", "mass", "strength"} < set(robot.drawn)


@pytest.mark.parametrize("name", SIMULATED)
def test_its_page_says_what_it_does(name: str) -> None:
    spec = load_spec(name)
    _, found, rest = PAGE.partition(f"\n## {name}\n")
    assert found, f"docs/robots.md has no section {name}"
    section = re.split(r"\n## ", rest)[0]
    (identity,) = [i for i, robot in IDS.items() if robot == name]
    assert f"`{identity}`" in section
    words = " ".join(section.split())
    for signal in (spec.reward, spec.terminal):
        if signal is not None and signal.expression:
            assert " ".join(signal.expression.split()) in words
    for quantity in (*spec.quantities, *spec.actions):
        assert f"`{quantity.name}`" in section, f"docs/robots.md, {name}: {quantity.name} is missing"
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", section)
    assert all((Path(__file__).parents[2] / "docs" / picture).is_file() for picture in pictures)
    assert pictures or spec.simulation["model"].startswith("dm_control:")


def test_any_robots_file_has_an_environment(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text((ROBOTS_DIRECTORY / "cartpole.yaml").read_text().replace("max_steps: 250", "max_steps: 3"))
    environment = gymnasium.make(ANY, robot=str(file))
    shown, info = environment.reset(seed=0)
    again, _ = environment.reset(seed=0)
    assert info == {"drawn": {}} and all(np.array_equal(shown[k], again[k]) for k in shown)
    ends = [environment.step(environment.action_space.sample())[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]
    with pytest.raises(gymnasium.error.ResetNeeded):  # it went on, as if there were an episode
        environment.step(environment.action_space.sample())
    environment.reset()
    assert environment.step(environment.action_space.sample())[2:4] == (False, False)
    with pytest.raises(SpecError, match="unknown robot 'catpole'"):
        gymnasium.make(ANY, robot="catpole")


def test_the_policys_view_has_its_history_and_nothing_that_is_only_watched(tmp_path: Path) -> None:
    text = (ROBOTS_DIRECTORY / "a1.yaml").read_text().replace("mjcf:", f"mjcf:{ROBOTS_DIRECTORY}/")
    longer = "angular_velocity\n    history: 2\n    shape: [6]\n"
    (tmp_path / "mine.yaml").write_text(text.replace("angular_velocity\n    shape: [3]\n", longer))
    environment = gymnasium.make(ANY, robot=str(tmp_path / "mine.yaml"))
    shown = [environment.reset(seed=0)[0], *(environment.step(np.zeros(12))[0] for _ in range(2))]
    assert all(view in environment.observation_space and len(view) == 3 for view in shown)
    (first, again), *later = (view["angular_velocity"].reshape(2, 3) for view in shown)
    assert np.array_equal(first, again) and np.array_equal(later[0][0], first)
    assert np.array_equal(later[1][0], later[0][1]) and not np.array_equal(*later[1])


def test_actions_pass_filter_and_rate(tmp_path: Path) -> None:
    """As on board: what the world gets is slower than what the learner asks for."""
    file = tmp_path / "mine.yaml"
    text = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text()
    file.write_text(
        text.replace("    neutral: [0.0]\n", "    neutral: [0.0]\n    filter: {cutoff: 3.0}\n    max_rate: [8.0]\n")
    )
    environment = gymnasium.make(ANY, robot=str(file))
    environment.reset(seed=0)
    sent = [environment.step(np.float32([1.0]))[4]["command"]["force"].item() for _ in range(40)]
    assert sent[0] == pytest.approx(0.084, abs=0.01)  # of a Butterworth of second order at 3 of 25 Hz
    assert max(np.diff(sent)) <= 8.0 / 25.0 + 1e-9 and sent[-1] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("robot", SIMULATED)
def test_in_real_time_sensors_are_fresh_until_the_next_ones_come(robot: str) -> None:
    spec = load_spec(robot)
    slow = [o for o in spec.quantities if o.source.max_age <= spec.period]  # the next one may be a little late
    assert bool(slow) == (robot in ("ur5_pick", "xarm_pick"))
    options = Options(robot=robot, clock="realtime", learner="")
    if not slow:
        require_startable(options)
        return
    with pytest.raises(SpecError, match=f"{slow[0].source.topic}.* once in {spec.period:g} s"):
        require_startable(options)
    require_startable(dataclasses.replace(options, clock="lockstep"))


def test_in_real_time_a_reward_on_a_topic_is_to_be_fresh_too() -> None:
    """The node that learns waits for it as for any sensor."""
    slow = TOY.replace("rate: 50.0", "rate: 1.0").replace("names: [hinge]", "names: [hinge], max_age: 2.0")
    with pytest.raises(SpecError, match=r"'task' once in 1 s.* for reward it counts for 0.5 s.* raise its max_age"):
        require_realtime(parse_spec(slow))
    require_realtime(
        parse_spec(slow.replace("[reward]", "[reward], max_age: 2").replace("[terminal]", "[terminal], max_age: 2"))
    )
