"""Where an expression of reward or terminal has no value, the sample is refused and the simulation goes on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("dm_control")
from robot_dreamer.environment import EpisodeBroken
from robot_dreamer.learner.local import LocalActor
from robot_dreamer.onboard.policy import RandomPolicy
from robot_dreamer.spec import load_spec
from sim.environments import make_environment
from sim.episode import EpisodeStopped, run_episode
from sim.gym_robot import GymRobot
from sim.robot import SimRobot
from tests.gated import mass_robot
from tests.kept_rows import Rows

WATCHED = """watched:
  - {name: way, shape: [1], range: [0.0, 9.0], source: {topic: joint_states, type: sensor_msgs/msg/JointState,
     field: position, names: [rail]}}
"""
REWARD = 'reward: {expression: "sqrt(way) - before(sqrt(way))"}'
TERMINAL = 'reward: {expression: "norm(speed)"}\nterminal: {expression: "sqrt(way) > 2"}'


def rooted(folder: Path, signals: str = REWARD, start: float = 0.5) -> Path:
    """The mass on its rail; left of 0 it is where the spec says that it never is."""
    path = mass_robot(folder)
    text = path.read_text().replace("rail: 0.5", f"rail: {start}")
    path.write_text(re.sub(r"^reward: .*$", WATCHED + signals, text, flags=re.MULTILINE))
    return path


@pytest.mark.parametrize("signals", [REWARD, TERMINAL])
def test_the_readings_go_out_and_the_world_goes_on(tmp_path: Path, signals: str) -> None:
    robot = SimRobot(load_spec(rooted(tmp_path, signals)), 0)
    shown = [robot.reset()]
    shown += [robot.step({"force": np.array([-1.0])}) for _ in range(8)]
    while shown[-1].joints["joint_states"].position[0] < 0.5 and len(shown) < 60:
        shown.append(robot.step({"force": np.array([1.0])}))
    places = [float(s.joints["joint_states"].position[0]) for s in shown]
    assert min(places) < -0.5 and places[-1] > 0.5 and len(set(places)) == len(places)
    for sensors, place in zip(shown, places, strict=True):
        assert bool(sensors.fault) == (place < 0) and not sensors.terminal
        if place < 0:
            assert sensors.reward == 0.0
            assert all(word in sensors.fault for word in ("sqrt(way)", "has no value", "way [-"))
    again = next(i for i in range(1, len(shown)) if shown[i - 1].fault and not shown[i].fault)
    if signals == REWARD:
        assert shown[again].reward == 0.0 < shown[again + 1].reward  # on board it is the first row of an episode


def test_training_cuts_the_episode_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    environment = make_environment(f"robot:{rooted(tmp_path)}", 0)
    store: Any = Rows()
    actor = LocalActor(environment, RandomPolicy(environment.spec, 0), store)
    for _ in range(120):
        actor.step()
    actor.flush()
    assert "an episode was cut (1 so far): expression 'sqrt(way)" in caplog.text
    assert len({row.episode for row in store.kept}) > 2
    assert all(row.observation["place"][0] >= 0 for row in store.kept)


def test_an_evaluation_says_which_sample_was_refused(tmp_path: Path) -> None:
    spec = load_spec(rooted(tmp_path, start=0.1))
    with pytest.raises(EpisodeStopped, match=r"seed 0 stopped: expression .* has no value: .*with way") as stop:
        run_episode(SimRobot(spec, 0), RandomPolicy(spec, 0), 0, True)
    assert stop.value.episode.faults == {"reward": 1} and stop.value.episode.length > 0


def test_an_episode_that_begins_so(tmp_path: Path) -> None:
    file = rooted(tmp_path, start=-0.1)
    spec = load_spec(file)
    with pytest.raises(EpisodeStopped, match=r"expression .* has no value: .*with way") as stopped:
        run_episode(SimRobot(spec, 0), RandomPolicy(spec, 0), 0, True)
    assert stopped.value.episode.length == 0
    for environment in (make_environment(f"robot:{file}", 0), GymRobot(str(file))):
        with pytest.raises(EpisodeBroken, match="has no value") as broken:
            environment.reset()
        assert broken.value.kind == "reward"
