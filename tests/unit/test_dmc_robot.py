"""Tasks of dm_control's suite as robots: what the robot shows is what dm_control's own environment shows."""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import pytest

pytest.importorskip("dm_control")
from robot_dreamer.spec import RobotSpec, SpecError, load_spec
from sim import dmc_tasks
from sim.robot import SimRobot
from sim.sensors import observe
from sim.worlds import load_suite

TASKS = sorted(f"{domain}_{task}" for domain, task in load_suite().ALL_TASKS)
WITHOUT_LIMITS = [name for name in TASKS if name.startswith("lqr_")]
ONE_OF_EACH_DOMAIN = sorted({dmc_tasks.find_task(name)[0]: name for name in TASKS if "lqr" not in name}.values())


@pytest.mark.parametrize("task", sorted(set(TASKS) - set(WITHOUT_LIMITS) - set(ONE_OF_EACH_DOMAIN)))
def test_every_task_is_a_robot(task: str) -> None:
    spec = load_spec(f"dmc:{task}")
    robot = SimRobot(spec, seed=0)
    robot.reset()
    sensors = robot.step({"action": np.zeros(spec.actions[0].size)})
    assert all(np.isfinite(numbers).all() for numbers in observe(spec, sensors).values()) and not sensors.terminal


@pytest.mark.parametrize("task", ONE_OF_EACH_DOMAIN)
def test_a_robot_is_what_its_task_is(task: str) -> None:
    """Observations, reward and rate are those of dm_control's own environment with the same seed and commands."""
    spec = load_spec(f"dmc:{task}")
    robot, environment = SimRobot(spec, seed=3), dmc_tasks.load_task(task, seed=3)
    shown, sensors = environment.reset(), robot.reset()
    assert spec.rate * environment.control_timestep() == pytest.approx(1.0)
    assert spec.episode.max_steps == 1000
    command = np.random.default_rng(0).uniform(-1.0, 1.0, spec.actions[0].size)
    for expected in (shown, environment.step(command)):
        ours = observe(spec, sensors)
        assert len(ours) == len(expected.observation) > 0
        for (name, numbers), (key, theirs) in zip(ours.items(), expected.observation.items(), strict=True):
            np.testing.assert_array_equal(numbers, np.asarray(theirs, np.float32).reshape(-1), f"{name}, {key}")
        assert sensors.reward == (expected.reward or 0.0)
        sensors = robot.step({"action": command})


@pytest.mark.parametrize("task", WITHOUT_LIMITS)
def test_a_task_without_limits_is_refused(task: str) -> None:
    with pytest.raises(SpecError, match="infinite action bounds"):
        load_spec(f"dmc:{task}")


def test_options() -> None:
    spec = load_spec("dmc:walker_walk:pixels:repeat=2")
    assert (spec.rate, spec.episode.max_steps, spec.name) == (20.0, 500, "dmc_walker_walk_pixels_repeat_2")
    assert [(o.shape, o.dtype) for o in spec.observations] == [((64, 64, 3), "uint8")]
    assert load_spec("dmc:quadruped_run:pixels").simulation["cameras"] == {"camera/image_raw": 2}
    assert SimRobot(load_spec("dmc:walker_walk:repeat=2"), 0).control_steps == 2


def test_the_spec_travels_as_any_other() -> None:
    spec = load_spec("dmc:fish_swim")
    again = msgspec.json.decode(spec.to_json(), type=RobotSpec)
    assert again.hash == spec.hash and SimRobot(again, 0).reset().arrays.keys() == set(
        spec.simulation["task_observations"]
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dmc:walker_fly", "unknown dmc task 'walker_fly'; known: acrobot_swingup, "),
        ("dmc:walker_walk:pixel", "robot dmc:walker_walk:pixel: expected dmc:<domain>_<task>, then :pixels, :repeat=N"),
        ("dmc:walker_walk:repeat=0", r":repeat=N \(1 to 100\)"),
        ("dmc:walker_walk:repeat=2:repeat=3", ":repeat=N"),
        ("walker_walk", "or a task of dm_control's suite, such as dmc:walker_walk"),
    ],
)
def test_wrong_names_are_refused(name: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        load_spec(name)


def test_without_dm_control_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] in ("sim", "dm_control")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "dm_control", None)
    with pytest.raises(
        SpecError, match=r"robot dmc:walker_walk: dm_control is missing: pip install .robot_dreamer\[sim\]"
    ):
        load_spec("dmc:walker_walk")


def changed(**simulation: object) -> RobotSpec:
    spec = load_spec("dmc:walker_walk")
    return msgspec.structs.replace(spec, simulation=spec.simulation | simulation)


def test_what_the_task_does_not_observe_is_refused() -> None:
    given = {
        "observations/orientations": "orientations",
        "observations/height": "weight",
        "observations/velocity": "velocity",
    }
    with pytest.raises(SpecError, match="no observation of its task weight; it has: orientations, height, velocity"):
        SimRobot(changed(task_observations=given), 0)
    swapped = given | {"observations/orientations": "velocity", "observations/height": "height"}
    with pytest.raises(SpecError, match="'orientations' names 14 numbers, the task's velocity has 9"):
        SimRobot(changed(task_observations=swapped), 0)


def test_noise_and_delay_reach_what_the_task_observes() -> None:
    noisy = {"quantity": "noise", "of": "observations/height.data", "range": (0.1, 0.1)}
    robot, exact = SimRobot(changed(vary=[noisy]), 0), SimRobot(changed(), 0)
    ours, theirs = robot.reset().arrays, exact.reset().arrays
    assert ours["observations/height"] != theirs["observations/height"]
    np.testing.assert_array_equal(ours["observations/velocity"], theirs["observations/velocity"])
    late = SimRobot(changed(delay={"sensors": {"seconds": (0.025, 0.025)}}), 0)
    late.reset()
    for _ in range(4):
        shown = exact.step({"action": np.ones(6)}).arrays["observations/height"]
    for _ in range(5):
        seen = late.step({"action": np.ones(6)}).arrays["observations/height"]
    np.testing.assert_array_equal(seen, shown)
