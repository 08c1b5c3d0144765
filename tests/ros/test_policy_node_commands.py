"""The policy node drives the simulated robot with every form of command; what is recorded is what moved the world."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("dm_control")

from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from robot_dreamer.record import StepRecord
from robot_dreamer.spec import ROBOTS_DIRECTORY, load_spec
from ros_nodes.policy_node import PolicyNode
from sim.robot import SimRobot
from sim.sensors import observe
from tests.ros.sim_bench import Bench
from tests.ros.stage import MOVES

HOPPER = """
name: hopper
rate: 50.0
observations:
  - {name: touch, shape: [2],
     source: {topic: feet, type: std_msgs/msg/Float64MultiArray, field: data, names: [toe, heel]}}
  - {name: position, shape: [3], source: &odometry {topic: odom, type: nav_msgs/msg/Odometry, field: position}}
  - {name: velocity, shape: [3], source: {<<: *odometry, field: linear_velocity}}
actions:
  - {name: motors, low: [-1, -1, -1, -1], high: [1, 1, 1, 1], command: {topic: commands}}
reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}
episode: {max_steps: 100, reset_service: reset}
simulation: {model: "dm_control:hopper/hop", odometry: {odom: torso}, arrays: {feet: [touch_toe, touch_heel]}}
"""
CARTPOLE = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text()
PLAIN = "{topic: effort_controller/commands, names: [slider]}"
TRAJECTORY = "{topic: arm, type: trajectory_msgs/msg/JointTrajectory, names: [slider], field: effort, scale: [-2.0]}"
STAMPED = "{topic: cmd_vel, type: geometry_msgs/msg/TwistStamped, names: [linear.x], scale: [0.5], offset: [0.25]}"
TWIST = "{topic: cmd_vel, type: geometry_msgs/msg/Twist, names: [linear.x]}"
FLOATS = "{topic: 'joints/{name}', type: std_msgs/msg/Float64, names: [slider]}"


@pytest.fixture
def bench(ros: Any) -> Iterator[Bench]:
    bench = Bench(ros)
    yield bench
    bench.stop()


def write_robot(folder: Path, command: str, more: str = "") -> str:
    text = CARTPOLE.replace(PLAIN, command + more).replace("max_steps: 250", "max_steps: 20")
    assert command in text
    path = folder / "robot.yaml"
    path.write_text(text + "  actuators: {force: [slider]}\n")
    return str(path)


def make_node(bench: Bench, robot: str, clock: str) -> PolicyNode:
    overrides = [Parameter(k, value=v) for k, v in {"robot": robot, "clock": clock, "threads": 1, **MOVES}.items()]
    return bench.ros.add(PolicyNode(context=bench.ros.context, parameter_overrides=overrides))


@pytest.mark.parametrize("command", [PLAIN, TRAJECTORY, STAMPED])
def test_lockstep(bench: Bench, tmp_path: Path, command: str) -> None:
    robot = write_robot(tmp_path, command, "\n    filter: {cutoff: 4.0}")
    simulated, node, rows = bench.robot(robot=robot, seed=5), make_node(bench, robot, "lockstep"), []
    assert node.bring_up()
    node.components.controller._record = rows.append
    bench.ros.until(lambda: node.components.controller.episodes == 2, "two episodes")
    assert (simulated.counters.rejected, simulated.counters.unlabelled) == (0, 0)
    node.trigger_shutdown()

    spec = load_spec(robot)  # the same world, driven by what was recorded
    world = SimRobot(spec, seed=5)
    world.reset()
    for episode in (0, 1):
        sensors = world.reset()
        recorded = [r for r in rows if r.episode == episode]
        assert len(recorded) == 21
        for row in recorded:
            assert row.stamp_capture == sensors.stamp
            np.testing.assert_allclose(row.observation["cart_position"], sensors.joints["joint_states"].position[:1],
                                       atol=1e-5)  # fmt: skip
            sensors = (
                world.step({"force": spec.actions[0].to_command(row.action["force"])}) if not row.is_last else None
            )
    jumps = np.abs(np.diff([r.action["force"][0] for r in rows if not r.is_last]))
    asked = np.abs(np.diff([r.action_requested["force"][0] for r in rows if not r.is_last]))
    assert jumps.mean() < 0.7 * asked.mean()  # random actions, smoothed


def test_lockstep_with_odometry_and_arrays(bench: Bench, tmp_path: Path) -> None:
    """The node sees what the world shows, also in messages without a header."""
    file = tmp_path / "hopper.yaml"
    file.write_text(HOPPER.replace("max_steps: 100", "max_steps: 10"))
    simulated, node, rows = bench.robot(robot=str(file), seed=3), make_node(bench, str(file), "lockstep"), []
    assert node.bring_up()
    node.components.controller._record = rows.append
    bench.ros.until(lambda: node.components.controller.episodes == 1, "an episode")
    node.trigger_shutdown()
    assert simulated.counters.rejected == 0 and node.components is None
    spec = load_spec(file)
    world = SimRobot(spec, seed=3)
    world.reset()
    sensors = world.reset()
    for row in rows[:11]:
        assert row.stamp_capture == sensors.stamp
        for name, expected in observe(spec, sensors).items():
            np.testing.assert_allclose(row.observation[name], expected, atol=1e-4)
        if not row.is_last:
            sensors = world.step({"motors": spec.actions[0].to_command(row.action["motors"])})


@pytest.mark.parametrize("command", [TWIST, FLOATS, TRAJECTORY])
def test_realtime(bench: Bench, tmp_path: Path, command: str) -> None:
    robot = write_robot(tmp_path, command)
    simulated, node = bench.robot(robot=robot, clock="realtime"), make_node(bench, robot, "realtime")
    rows: list[StepRecord] = []
    assert node.bring_up()
    node.components.controller._record = rows.append
    spec = load_spec(robot)

    def obeyed() -> bool:
        sent = [spec.actions[0].to_command(r.action["force"]) for r in rows if not r.is_last]
        return any(np.allclose(simulated._commands.get("force", np.nan), command, rtol=1e-5) for command in sent)

    bench.ros.until(obeyed, "the world to be moved by a recorded command")
    node.trigger_shutdown()
    assert simulated.counters.rejected == 0


@pytest.mark.parametrize("command", [TWIST, FLOATS])
def test_lockstep_is_refused_where_a_command_cannot_say_what_it_answers(
    bench: Bench, tmp_path: Path, command: str
) -> None:
    robot = write_robot(tmp_path, command)
    with pytest.raises(ValueError, match="action force: a .* cannot say which sensors it answers"):
        bench.robot(robot=robot)
    node = make_node(bench, robot, "lockstep")
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert node.components is None
