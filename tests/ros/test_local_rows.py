"""A robot with a filter and a rate limit: training in one process records what the policy node would have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("dm_control")

from rclpy.parameter import Parameter

from robot_dreamer.learner.local import LocalActor
from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.policy import OnnxPolicy
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import ROBOTS_DIRECTORY, load_spec
from ros_nodes.policy_node import PolicyNode
from sim.environments import make_environment
from tests.kept_rows import Rows
from tests.onboard_models import make_bundle
from tests.ros.conftest import Ros
from tests.ros.sim_bench import Bench

pytestmark = pytest.mark.usefixtures("proved_here")
SEED, STEPS = 5, 20
NEUTRAL = "    neutral: [0.0]\n"


@pytest.fixture
def bench(ros: Ros) -> Iterator[Bench]:
    bench = Bench(ros)
    yield bench
    bench.stop()


SIGNALS = {  # terminal: out of the first rows' reach, and then soon
    "a topic": ("", ""),
    "an expression": (
        "exp(-(pole_angle[0] - 1) ** 2) - 0.1 * effort ** 2 - 0.01 * norm(force)",
        "abs(cart_position) > 0.3 or norm(joint_velocity[1:2]) > 1.5",
    ),
}
EFFORT = """
watched:
  - name: effort
    shape: [1]
    source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: effort, names: [slider]}
"""


def robot_file(folder: Path, signals: str) -> Path:
    text = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text()
    for name, expression in zip(("reward", "terminal"), SIGNALS[signals], strict=True):
        if expression:
            text = re.sub(rf"^{name}: .*$", f'{name}: {{expression: "{expression}"}}', text, flags=re.MULTILINE)
    text += EFFORT if SIGNALS[signals][0] else ""
    spec = load_spec("cartpole")
    text = text.replace(f"max_steps: {spec.episode.max_steps}", f"max_steps: {STEPS}")
    path = folder / "robot.yaml"
    path.write_text(text.replace(NEUTRAL, f"{NEUTRAL}    filter: {{cutoff: 3.0}}\n    max_rate: [8.0]\n"))
    action = load_spec(str(path)).actions[0]
    assert action.filter and action.max_rate and load_spec(str(path)).episode.max_steps == STEPS
    return path


def by_the_node(ros: Ros, bench: Bench, robot: Path, bundle: Path, count: int) -> list[StepRecord]:
    bench.robot(robot=str(robot), seed=SEED)  # before the node, which would wait for publishers
    values: dict[str, Any] = {"robot": str(robot), "bundle": str(bundle), "seed": SEED, "automatic": True}
    overrides = [Parameter(name, value=value) for name, value in (values | {"clock": "lockstep"}).items()]
    node = ros.add(PolicyNode(context=ros.context, parameter_overrides=overrides))
    rows: list[StepRecord] = []
    assert node.bring_up()
    node.components.controller._record = rows.append
    ros.until(lambda: len(rows) >= count, "rows")
    node.trigger_shutdown()
    return rows[:count]


def in_this_process(robot: Path, bundle: Path, count: int, begun: int = 1) -> list[StepRecord]:
    environment = make_environment(f"robot:{robot}", SEED)
    for _ in range(begun):
        environment.reset()  # the simulated robot begins with one, and the policy node asks for another
    store: Any = Rows()
    actor = LocalActor(environment, OnnxPolicy(read_bundle(bundle, environment.spec)), store, SEED)
    for _ in range(count):
        actor.step()
    actor.flush()
    return store.kept  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["dmc:ball_in_cup_catch", "turtlebot", "turtlebot_goal", "so101"])
def test_robots_by_name_give_the_same_rows(ros: Ros, bench: Bench, tmp_path: Path, name: str) -> None:
    robot = Path(name)
    bundle = make_bundle(tmp_path / "toy.bundle", load_spec(robot), version=7)
    theirs, ours = by_the_node(ros, bench, robot, bundle, 15), in_this_process(robot, bundle, 15)
    for there, here in zip(theirs, ours, strict=True):
        assert here.observation.keys() == there.observation.keys()
        for key, array in (here.observation | here.action).items():
            np.testing.assert_array_equal(array, (there.observation | there.action)[key], key)
    moving = load_spec(robot).observations[1].name
    assert len({row.observation[moving].tobytes() for row in ours}) == 15


def assert_same(theirs: StepRecord, ours: StepRecord) -> None:
    for field in ("sequence", "episode", "reward", "is_first", "is_last", "is_terminal", "policy_version", "drawn"):
        assert getattr(ours, field) == getattr(theirs, field), field
    for kind in ("observation", "action", "action_requested"):
        assert getattr(ours, kind).keys() == getattr(theirs, kind).keys()
        for name, array in getattr(ours, kind).items():
            np.testing.assert_array_equal(array, getattr(theirs, kind)[name], f"{kind} {name}")


@pytest.mark.parametrize("signals", SIGNALS)
def test_both_ways_give_the_same_rows(ros: Ros, bench: Bench, tmp_path: Path, signals: str) -> None:
    robot = robot_file(tmp_path, signals)
    bundle = make_bundle(tmp_path / "toy.bundle", load_spec(str(robot)), version=7)
    count = 2 * (STEPS + 1) + 5  # the third episode begins
    pairs = list(zip(by_the_node(ros, bench, robot, bundle, count), in_this_process(robot, bundle, count), strict=True))
    for theirs, ours in pairs:
        assert_same(theirs, ours)
    rows = [ours for _, ours in pairs]
    changed = sum(not np.array_equal(row.action["force"], row.action_requested["force"]) for row in rows)
    assert changed > STEPS and rows[-1].episode >= 2
    assert len({row.reward for row in rows}) > STEPS
    assert any(row.is_terminal for row in rows) == (signals == "an expression")


def in_both(ros: Ros, bench: Bench, robot: Path, folder: Path, count: int, moving: str) -> list[StepRecord]:
    """Rows of a robot without a reset, which are the same both ways. The node lets it hold the neutral command for some
    periods until all is up; what the first row shows as `moving` tells how many."""
    bundle = make_bundle(folder / "toy.bundle", load_spec(str(robot)), version=7)
    theirs = by_the_node(ros, bench, robot, bundle, count)
    first = theirs[0].observation[moving]
    begun = next(
        n for n in range(1, 50) if np.array_equal(in_this_process(robot, bundle, 1, n)[0].observation[moving], first)
    )
    ours = in_this_process(robot, bundle, count, begun)
    for there, here in zip(theirs, ours, strict=True):
        assert_same(there, here)
    return ours


def test_a_robot_that_nobody_resets_too(ros: Ros, bench: Bench, tmp_path: Path) -> None:
    text = (ROBOTS_DIRECTORY / "a1.yaml").read_text().replace("max_steps: 250", "max_steps: 6")
    robot = tmp_path / "robot.yaml"
    robot.write_text(text.replace("mjcf:", f"mjcf:{ROBOTS_DIRECTORY}/"))
    assert in_both(ros, bench, robot, tmp_path, 16, "angular_velocity")[-1].episode == 2


def test_a_task_that_is_over_begins_anew_where_nobody_resets(ros: Ros, bench: Bench, tmp_path: Path) -> None:
    robot = robot_file(tmp_path, "an expression")
    robot.write_text(robot.read_text().replace("  reset_service: reset\n", ""))
    rows = in_both(ros, bench, robot, tmp_path, 3 * (STEPS + 1), "pole_angle")
    over = [number for number, row in enumerate(rows[:-1]) if row.is_terminal]
    assert over and all(rows[number + 1].is_first for number in over)
    assert all(abs(rows[number + 1].observation["cart_position"][0]) < 0.1 for number in over)
