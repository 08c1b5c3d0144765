"""What a reset says was drawn for the episode stands in its first row, and never in that of another episode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

from rclpy.parameter import Parameter

from robot_dreamer.spec import load_spec
from ros_nodes.policy_node import PolicyNode
from sim.robot import SimRobot
from tests.ros import test_policy_node_lockstep as lockstep
from tests.ros.conftest import Ros, stages_of
from tests.ros.sim_bench import Bench
from tests.ros.stage import MOVES, Stage
from tests.varied import varied

DRAWN = {"mass": {"trunk": 5.25}, "delay": {"sensors": 0.01}}
VARIED = "vary: [{quantity: mass, of: hand, range: [0.5, 2.0]}]\ndelay: {sensors: {seconds: [0.0, 0.1]}}"


@pytest.fixture
def in_lockstep(ros: Ros, tmp_path: Path) -> Iterator[Any]:
    for build in stages_of(lockstep.Stage, ros, tmp_path):
        yield build()


@pytest.fixture
def in_realtime(ros: Ros, tmp_path: Path) -> Iterator[Any]:
    for build in stages_of(Stage, ros, tmp_path):
        yield build(max_steps=10_000)


def firsts(stage: Any) -> list[Any]:
    return [row.drawn for row in stage.rows if row.is_first]


def test_each_episode_has_what_its_own_reset_said(in_lockstep: Any, capfd: pytest.CaptureFixture[str]) -> None:
    stage, resetter = in_lockstep, in_lockstep.components.resetter
    stage.robot.announces = True
    stage.robot.drawn = [json.dumps(DRAWN), "done", '{"mass": NaN}', json.dumps({"x": [1.0] * 9000}), '{"n": 4}']
    stage.until(lambda: len(firsts(stage)) == 5, "five episodes")
    assert firsts(stage) == [DRAWN, {}, {}, {}, {"n": 4}]
    assert not any(row.drawn for row in stage.rows if not row.is_first)
    assert resetter.draws_refused == 2 and not stage.node.failed
    (loop,) = [s for s in stage.node._diagnosis.report(None, "", True).status if "loop" in s.name]
    assert {v.key: v.value for v in loop.values}["draws_refused"] == "2"
    assert "what it says was drawn is left out of the episode: expected a JSON object" in capfd.readouterr().err


def test_a_robot_that_began_again_behind_its_answer_is_another_one(in_lockstep: Any) -> None:
    stage = in_lockstep
    stage.robot.announces, stage.robot.leap = True, 3
    stage.robot.drawn = [json.dumps(DRAWN)]
    stage.until(lambda: stage.rows, "an episode")
    assert stage.rows[0].is_first and stage.rows[0].drawn == {} == stage.components.resetter.drawn


def test_an_episode_that_begins_without_a_reset_has_none(in_realtime: Any) -> None:
    """A refused sample cuts the episode, and the next one begins in the same world."""
    stage = in_realtime
    stage.robot.announces = True
    stage.robot.drawn = [json.dumps({"n": i}) for i in range(100)]
    stage.until(lambda: len(stage.rows) > 3, "an episode")
    resets = stage.components.resetter.resets
    assert firsts(stage)[0] == {"n": resets - 1}
    stage.robot.speed = dict.fromkeys(range(stage.robot.tick + 1, stage.robot.tick + 4), float("nan"))
    stage.until(lambda: len(firsts(stage)) >= 2, "another episode")
    if stage.components.resetter.resets == resets:  # a machine that stalls for 0.5 s resets the robot
        assert firsts(stage)[1] == {}
    assert {json.dumps(drawn) for drawn in firsts(stage) if drawn} <= {json.dumps({"n": i}) for i in range(100)}


def test_a_jump_of_the_clock_before_the_episode_takes_them_back(in_realtime: Any) -> None:
    runner, resetter = in_realtime.components.runner, in_realtime.components.resetter
    in_realtime.node.trigger_deactivate()
    resetter.drawn = dict(DRAWN)
    runner._find_problem()
    assert resetter.drawn == DRAWN
    runner._jumps -= 1
    runner._find_problem()
    assert resetter.drawn == {}


def test_the_simulated_robots_draws_reach_the_rows_of_the_node(ros: Ros, tmp_path: Path) -> None:
    pytest.importorskip("dm_control")
    varied(tmp_path, VARIED)
    file = tmp_path / "varied.yaml"
    file.write_text(file.read_text().replace("max_steps: 20", "max_steps: 2"))
    reference = SimRobot(load_spec(file), 7)
    expected = []
    for _ in range(3):
        reference.reset()
        expected.append(reference.drawn)
    values: dict[str, Any] = {"robot": str(file), "clock": "lockstep", **MOVES}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    rows: list[Any] = []
    bench = Bench(ros)
    bench.robot(robot=str(file), seed=7)  # before the node, which would wait for publishers
    try:
        node = ros.add(PolicyNode(context=ros.context, parameter_overrides=overrides))
        assert node.bring_up()
        node.components.controller._record = rows.append
        ros.until(lambda: sum(row.is_first for row in rows) >= 2, "two episodes")
        node.trigger_shutdown()
    finally:
        bench.stop()
    found = [row.drawn for row in rows if row.is_first]
    assert found[:2] == expected[1:]  # the first is of the world that the robot began with, before it was reset
