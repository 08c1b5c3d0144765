"""The simulated robot node, tick by tick: worlds that end, lose themselves, are drawn once; what is said of a wait."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("dm_control")
from rclpy.node import Node
from rclpy.parameter import Parameter

from robot_dreamer.environment import EpisodeBroken
from robot_dreamer.record import StepRecord
from robot_dreamer.spec import ROBOTS_DIRECTORY
from ros_nodes.policy_node import PolicyNode
from sim.robot import SimRobot
from sim.simulated_robot import SimulatedRobot
from tests.gated import mass_robot
from tests.ros.conftest import Ros
from tests.ros.sim_bench import Bench
from tests.ros.stage import MOVES

Make = Callable[..., SimulatedRobot]
ONE, NEUTRAL = np.ones(1), np.zeros(1)


@pytest.fixture
def make(ros: Ros) -> Make:
    """A simulated robot that nobody runs: the tests say what time it is and which commands have come."""

    def make(**parameters: Any) -> SimulatedRobot:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        return SimulatedRobot(ros.add(Node("sim_robot", context=ros.context, parameter_overrides=overrides)))

    return make


def ending(folder: Path, reset: str = "") -> Path:
    """A mass whose task is over soon if it is pushed; reset: the entry of `episode` for its reset service."""
    path = mass_robot(folder)
    text = path.read_text().replace(", reset_service: reset", reset).replace("rail: 0.5", "rail: [0.4, 0.6]")
    path.write_text(text.replace("episode:", 'terminal: {expression: "norm(place) > 1"}\nepisode:'))
    return path


def place(robot: SimulatedRobot) -> float:
    return float(robot._sensors.joints["joint_states"].position[0])


def pushed_to_the_end(robot: SimulatedRobot, tick: Callable[[float], None]) -> int:
    """Push until the task is over; returns the stamp of its end, which has gone out."""
    for _ in range(40):
        if robot._sensors.terminal and not robot._fresh:
            return robot._sensors.stamp
        robot._commands["force"] = ONE
        tick(robot._due)
    raise AssertionError("the task does not end")


def test_in_lockstep_a_world_that_has_ended_begins_anew_once_that_is_answered(make: Make, tmp_path: Path) -> None:
    robot = make(robot=str(ending(tmp_path)), seed=3)
    reference = SimRobot(robot.spec, 3)
    assert place(robot) == reference.reset().joints["joint_states"].position[0]
    ended = pushed_to_the_end(robot, robot._tick_lockstep)
    for _ in range(3):
        robot._tick_lockstep(robot._due)
    assert robot._sensors.stamp == ended and robot.counters.ended == 0  # it asks again
    robot._commands["force"] = NEUTRAL
    robot._tick_lockstep(robot._due)
    assert not robot._sensors.terminal and robot._sensors.stamp - ended > 1_000_000_000
    assert place(robot) == reference.reset().joints["joint_states"].position[0]
    assert (robot.counters.ended, robot.counters.resets) == (1, 0)


def test_in_real_time_too(make: Make, tmp_path: Path) -> None:
    robot = make(robot=str(ending(tmp_path)), clock="realtime")
    ended = pushed_to_the_end(robot, robot._tick_realtime)
    for _ in range(3):  # the command that led here is no answer
        robot._tick_realtime(robot._due)
    assert robot._sensors.terminal and robot._sensors.stamp > ended
    robot._commands["force"] = ONE
    robot._tick_realtime(robot._due)
    assert not robot._sensors.terminal and robot.counters.ended == 1
    begun = place(robot)
    robot._tick_realtime(robot._due)
    assert place(robot) == begun and not robot._commands  # nobody has commanded anything of the new world


def test_what_is_held_goes_out_before_the_set_of_sensors(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No set waits for it: the first row of an episode would show the goal of the one before."""
    text = (ROBOTS_DIRECTORY / "turtlebot_goal.yaml").read_text().replace("mjcf:", f"mjcf:{ROBOTS_DIRECTORY}/")
    path = tmp_path / "held.yaml"
    path.write_text(text.replace("PoseStamped, field: position", "PoseStamped, field: position, hold: true"))
    robot, sent = make(robot=str(path)), []
    monkeypatch.setattr(robot, "_send", lambda publisher, message: sent.append(publisher.topic_name))
    robot._publish()
    assert sent == ["/goal_pose", "/odom"]


def test_where_there_is_a_reset_service_the_world_waits_for_it(make: Make, tmp_path: Path) -> None:
    robot = make(robot=str(ending(tmp_path, ", reset_service: reset")))
    pushed_to_the_end(robot, robot._tick_lockstep)
    for _ in range(3):
        robot._commands["force"] = NEUTRAL
        robot._tick_lockstep(robot._due)
    assert robot._sensors.terminal and robot.counters.ended == 0


def test_a_world_that_lost_itself_begins_without_the_old_command(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    robot = make(clock="realtime")
    robot._tick_realtime(robot._due)
    step, commanded = robot._robot.step, []

    def lost_once(commands: dict[str, np.ndarray]) -> object:
        commanded.append(commands["force"].tolist())
        if len(commanded) == 1:
            raise EpisodeBroken("diverged", "lost")
        return step(commands)

    monkeypatch.setattr(robot._robot, "step", lost_once)
    robot._commands["force"] = ONE
    for _ in range(2):
        robot._tick_realtime(robot._due)
    assert robot.counters.diverged == 1 and commanded == [[1.0], [0.0]]


def test_it_is_said_that_the_world_waits_only_while_it_does(make: Make) -> None:
    robot = make(speed=0.004)  # ten seconds for a period of 0.04 s
    now = robot._due
    robot._tick_lockstep(now)
    robot._commands["force"] = NEUTRAL
    robot._tick_lockstep(now + 0.1)
    robot._tick_lockstep(now + 6.0)
    assert robot.counters.steps == 1 and not robot._silent  # its next sensors are not due yet: nobody owes it anything
    robot._tick_lockstep(now + 10.1)
    assert not robot._silent
    robot._tick_lockstep(now + 15.2)
    assert robot._silent


@pytest.mark.parametrize("reset", ["", ", reset_service: reset"])
def test_what_is_drawn_once_only_is_said_at_the_start(
    make: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str], reset: str
) -> None:
    file = ending(tmp_path, reset)
    file.write_text(file.read_text() + "  vary: [{quantity: mass, range: [0.5, 1.5]}]\n")
    make(robot=str(file))
    assert ("robot 'mass' has no episode.reset_service" in capfd.readouterr().err) == (not reset)


def test_a_policy_in_real_time_meets_new_worlds(ros: Ros, tmp_path: Path) -> None:
    file = ending(tmp_path)
    file.write_text(file.read_text().replace("norm(place) > 1", "norm(place) > 0.7"))
    overrides = [Parameter(k, value=v) for k, v in {"robot": str(file), "clock": "realtime", **MOVES}.items()]
    node = ros.add(PolicyNode(context=ros.context, parameter_overrides=overrides))
    rows: list[StepRecord] = []
    assert node.bring_up()
    node.components.controller._record = rows.append
    bench = Bench(ros)
    try:
        robot = bench.robot(robot=str(file), clock="realtime")
        ros.until(lambda: sum(row.is_terminal for row in rows) > 1 and rows[-1].is_first, "an episode after two ends")
    finally:
        node.trigger_shutdown()
        bench.stop()
    assert robot.counters.ended >= 2
    begun = [after for row, after in itertools.pairwise(rows) if row.is_terminal]
    assert all(row.is_first and 0.35 < row.observation["place"][0] < 0.65 for row in begun)
