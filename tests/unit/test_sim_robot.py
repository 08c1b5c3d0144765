"""SimRobot: physics and reward are dm_control's own; sensors, time and errors are as the spec says."""

from __future__ import annotations

import re

import msgspec
import numpy as np
import pytest

from robot_dreamer.spec import ROBOTS_DIRECTORY, RobotSpec, SpecError, load_spec, parse_spec
from tests.pictures import taking_pictures

pytest.importorskip("dm_control")
from sim.robot import SimRobot
from sim.sensors import observe
from sim.worlds import load_suite

CARTPOLE = load_spec("cartpole")
CARTPOLE_TEXT = (ROBOTS_DIRECTORY / "cartpole.yaml").read_text()
QUADRUPED = (ROBOTS_DIRECTORY / "quadruped.yaml").read_text()
CAMERA = """
name: watched
rate: 50.0
observations:
  - {name: image, shape: [24, 32, CHANNELS], dtype: uint8,
     source: {topic: camera/image, type: sensor_msgs/msg/Image, field: data}}
actions:
  - {name: force, low: [-1], high: [1], command: {topic: commands}}
reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}
episode: {max_steps: 100}
simulation: {model: "dm_control:cartpole/swingup", cameras: {camera/image: lookatcart}}
"""


def force(value: float) -> dict[str, np.ndarray]:
    return {"force": np.array([value])}


def changed(old: str, new: str, text: str = CARTPOLE_TEXT) -> RobotSpec:
    """The cartpole (or another text) with a piece of its YAML replaced."""
    assert old in text, text
    return parse_spec(text.replace(old, new))


@pytest.mark.parametrize("rate, substeps", [(25.0, 4), (100.0, 1)])
def test_sensors_and_reward_are_dm_controls_own(rate: float, substeps: int) -> None:
    reference = load_suite().load("cartpole", "swingup", task_kwargs={"random": 3})
    robot = SimRobot(msgspec.structs.replace(CARTPOLE, rate=rate), seed=3)
    generator = np.random.default_rng(0)
    for _ in range(2):  # the second episode begins elsewhere
        reference.reset()
        sensors = robot.reset()
        for _ in range(100):
            action = generator.uniform(-1, 1)
            sensors = robot.step(force(action))
            reward = sum(reference.step(np.array([action])).reward for _ in range(substeps))
            joints = sensors.joints["joint_states"]
            assert joints.names == ["slider", "hinge_1"]
            np.testing.assert_array_equal(joints.position, reference.physics.data.qpos)
            np.testing.assert_array_equal(joints.velocity, reference.physics.data.qvel)
            np.testing.assert_array_equal(joints.effort, reference.physics.data.qfrc_actuator)
            assert sensors.reward == pytest.approx(reward, abs=1e-12)
            assert sensors.joints["task"].names == ["reward", "terminal"]
            np.testing.assert_array_equal(sensors.joints["task"].position, [sensors.reward, 0.0])


def test_observations_follow_the_spec() -> None:
    sensors = SimRobot(CARTPOLE, seed=0).reset()
    observation = observe(CARTPOLE, sensors)
    (slider, hinge), velocity = sensors.joints["joint_states"].position, sensors.joints["joint_states"].velocity
    np.testing.assert_array_equal(observation["cart_position"], np.float32([slider]))
    np.testing.assert_array_equal(observation["joint_velocity"], np.float32(velocity))
    np.testing.assert_allclose(observation["pole_angle"], [np.cos(hinge), np.sin(hinge)], rtol=1e-6)
    assert {k: v.dtype for k, v in observation.items()} == dict.fromkeys(observation, np.dtype(np.float32))


def test_same_seed_same_sensors_and_reseeding_forgets_the_past() -> None:
    def run(robot: SimRobot) -> list[list[float]]:
        return [robot.step(force(0.3)).joints["joint_states"].position.tolist() for _ in range(20)]

    first, second = SimRobot(CARTPOLE, seed=5), SimRobot(CARTPOLE, seed=6)
    first.reset()
    second.reset()
    theirs = run(second)
    ours = run(first)
    assert ours != theirs
    second.reset(seed=5)
    assert run(second) == ours


def test_time_never_runs_back_and_leaps_at_a_reset() -> None:
    robot = SimRobot(CARTPOLE, seed=0)
    stamps = [robot.reset().stamp, robot.step(force(0)).stamp, robot.step(force(0)).stamp, robot.reset().stamp]
    assert stamps[0] > 0
    assert np.diff(stamps).tolist() == [40_000_000, 40_000_000, 1_040_000_000]


def test_a_terminal_world_stands_still_until_it_is_reset() -> None:
    robot = SimRobot(CARTPOLE, seed=0)
    robot.reset()
    robot._world = EndsAtOnce(robot._world)  # none of the suite's position-only tasks ends early
    sensors = robot.step(force(1))
    assert sensors.terminal and sensors.reward == 7.0 and sensors.joints["task"].position.tolist() == [7.0, 1.0]
    later = robot.step(force(1))
    assert later.terminal and later.reward == 0.0 and later.stamp > sensors.stamp
    assert not robot.reset().terminal


class EndsAtOnce:
    """The world, whose task ends in its first step."""

    def __init__(self, world: object) -> None:
        self._world = world

    def __getattr__(self, name: str) -> object:
        return getattr(self._world, name)

    def step(self, control: np.ndarray, steps: int, before: object) -> tuple[float, bool]:
        return 7.0, True


def test_imu_shows_rotation_gravity_and_orientation() -> None:
    spec = parse_spec(QUADRUPED)
    robot = SimRobot(spec, seed=0)
    robot.reset()
    for _ in range(50):  # until it stands still
        sensors = robot.step({"legs": np.zeros(12)})
    observation = observe(spec, sensors)
    assert np.abs(observation["angular_velocity"]).max() < 0.05
    assert np.linalg.norm(observation["linear_acceleration"]) == pytest.approx(9.81, abs=0.3)
    physics_quaternion = robot._world.data.xquat[robot._world.model.body("torso").id]
    expected = np.roll(physics_quaternion, -1) * np.copysign(1.0, physics_quaternion[0])  # of its two signs w >= 0
    np.testing.assert_allclose(observation["orientation"], expected, rtol=1e-6)
    assert sensors.joints["task"].position[0] == sensors.reward > 0


def test_scalars_go_into_the_fields_that_the_spec_names() -> None:
    spec = changed("field: position, names: [reward]", "field: effort, names: [reward]")
    robot = SimRobot(spec, seed=0)
    robot.reset()
    sensors = robot.step(force(1))
    task = sensors.joints["task"]
    assert (task.effort.tolist(), task.position.tolist()) == ([sensors.reward, 0.0], [0.0, 0.0])


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures(channels: int) -> None:
    spec = parse_spec(CAMERA.replace("CHANNELS", str(channels)))
    robot = SimRobot(spec, seed=0)
    with taking_pictures():
        before = observe(spec, robot.reset())["image"]
    for _ in range(20):
        after = observe(spec, robot.step(force(1)))["image"]
    assert before.shape == (24, 32, channels) and before.dtype == np.uint8
    assert before.std() > 5 and (before != after).any()


@pytest.mark.parametrize(
    "spec, words",
    [
        (changed("hinge_1", "elbow"), ["no joint elbow", "slider, hinge_1"]),
        (changed("cartpole/swingup", "cartpole/juggle"), ["cartpole/juggle", "cartpole/swingup", "walker/walk"]),
        (changed("dm_control:", "gazebo:"), ["gazebo:", "dm_control:"]),
        (changed("rate: 25.0", "rate: 30.0"), ["30 Hz", "0.01 s", "50, 33.33333333, 25, 20"]),
        (changed("rate: 25.0", "rate: 200.0"), ["200 Hz", "0.01 s"]),
        (changed("commands, names: [slider]", "commands, names: [hinge_1]"), ["no actuated joint", "hinge_1", "slide"]),
        (changed("low: [-1.0]", "low: [-2.0]"), ["'force'", "[-2.0, 1.0]", "[-1.0, 1.0]"]),
        (changed("model:", "modle:"), ["modle"]),
        (changed("imu_gyro", "gyroscope", QUADRUPED), ["no gyro gyroscope", "imu_gyro"]),
        (
            changed("angular_velocity: imu_gyro, ", "", QUADRUPED),
            ["'angular_velocity'", "simulation.imus", "angular_velocity"],
        ),
        (changed("orientation: torso", "orientation: chest", QUADRUPED), ["no body chest", "torso"]),
        (changed("lookatcart", "drone", CAMERA.replace("CHANNELS", "3")), ["no camera drone", "fixed, lookatcart"]),
    ],
)
def test_what_the_model_lacks_is_refused_by_name(spec: RobotSpec, words: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        SimRobot(spec, seed=0)
    for word in [spec.name, *words]:
        assert word in str(caught.value)


def test_broken_commands_are_refused() -> None:
    robot = SimRobot(CARTPOLE, seed=0)
    with pytest.raises(RuntimeError, match="before the first reset"):
        robot.step(force(0))
    robot.reset()
    for command in ([np.nan], [0.0, 0.0], []):
        with pytest.raises(ValueError, match="command force: expected 1 finite"):
            robot.step({"force": np.array(command)})


def test_joints_are_shown_in_the_drivers_units() -> None:
    """A driver that counts degrees backwards from a quarter turn; the observation is what it was in radians."""
    degrees = "    encoding: cos_sin\n    scale: [-0.017453292519943295]\n    offset: [1.5707963267948966]\n"
    spec = changed("    encoding: cos_sin\n", degrees)
    theirs, ours = SimRobot(CARTPOLE, seed=4).reset(), SimRobot(spec, seed=4).reset()
    (slider, hinge), shown = theirs.joints["joint_states"].position, ours.joints["joint_states"].position
    np.testing.assert_allclose(shown, [slider, 90.0 - np.degrees(hinge)])
    np.testing.assert_array_equal(ours.joints["joint_states"].velocity, theirs.joints["joint_states"].velocity)
    for name, expected in observe(CARTPOLE, theirs).items():
        np.testing.assert_allclose(observe(spec, ours)[name], expected, atol=1e-6)


def test_two_observations_cannot_give_a_joint_different_units() -> None:
    other = (
        "  - {name: again, shape: [1], scale: [2.0], source: {topic: joint_states, type: sensor_msgs/msg/JointState, "
    )
    spec = changed("actions:", other + "field: position, names: [slider]}}\nactions:")
    with pytest.raises(SpecError, match="two observations give position of slider different units"):
        SimRobot(spec, seed=0)


def test_the_camera_shows_the_whole_picture_and_the_policy_a_part() -> None:
    whole = parse_spec(CAMERA.replace("CHANNELS", "3"))
    picture = "shape: [6, 8, 1], picture: {size: [24, 32], crop: [12, 16, 12, 16]}"
    part = parse_spec(CAMERA.replace("shape: [24, 32, CHANNELS]", picture))
    sensors = SimRobot(part, seed=1).reset()
    seen = SimRobot(whole, seed=1).reset().images["camera/image"]
    assert sensors.images["camera/image"].shape == (24, 32, 1)
    grey = (seen @ np.array([0.299, 0.587, 0.114]))[12:, 16:].reshape(6, 2, 8, 2).mean((1, 3))
    assert np.abs(observe(part, sensors)["image"][:, :, 0] - grey).max() <= 1.0  # rounded twice


def test_a_real_robot_is_not_simulated() -> None:
    with pytest.raises(
        SpecError, match="robot 'diff_drive_camera' cannot be simulated: its spec has no section `simulation`"
    ):
        SimRobot(load_spec("diff_drive_camera"), seed=0)


def test_an_action_drives_what_the_simulation_says() -> None:
    twist = "command: {topic: cmd_vel, type: geometry_msgs/msg/Twist, names: [linear.x]}"
    text = CARTPOLE_TEXT.replace("command: {topic: effort_controller/commands, names: [slider]}", twist)
    spec = parse_spec(text + "  actuators: {force: [slider]}\n")
    ours, theirs = SimRobot(spec, seed=2), SimRobot(CARTPOLE, seed=2)
    ours.reset(), theirs.reset()
    np.testing.assert_array_equal(
        ours.step(force(0.5)).joints["joint_states"].velocity, theirs.step(force(0.5)).joints["joint_states"].velocity
    )
    for actuators, words in (
        ("{push: [slider]}", "the robot has no action push"),
        ("{force: [slider, slider]}", "needs 1 entries, found 2"),
        ("{force: [hinge_1]}", "no actuated joint or actuator hinge_1"),
    ):
        with pytest.raises(SpecError, match=words):
            SimRobot(parse_spec(text + f"  actuators: {actuators}\n"), seed=0)


HOPPER = """
name: hopper
rate: 50.0
observations:
  - {name: touch, shape: [2], scale: [2.0, 1.0], offset: [0.0, -1.0],
     source: {topic: feet, type: std_msgs/msg/Float64MultiArray, field: data, names: [toe, heel]}}
  - {name: position, shape: [3], source: &odometry {topic: odom, type: nav_msgs/msg/Odometry, field: position}}
  - {name: orientation, shape: [4], source: {<<: *odometry, field: orientation}}
  - {name: velocity, shape: [3], source: {<<: *odometry, field: linear_velocity}}
  - {name: spin, shape: [3], source: {<<: *odometry, field: angular_velocity}}
  - {name: foot, shape: [3], source: &pose {topic: foot_pose, type: geometry_msgs/msg/PoseStamped, field: position}}
  - {name: foot_turn, shape: [4], source: {<<: *pose, field: orientation}}
actions:
  - {name: motors, low: [-1, -1, -1, -1], high: [1, 1, 1, 1], command: {topic: commands}}
reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}
episode: {max_steps: 100}
simulation: {model: "dm_control:hopper/hop", odometry: {odom: torso}, poses: {foot_pose: foot},
  arrays: {feet: [touch_toe, touch_heel]}}
"""


def test_odometry_poses_and_arrays() -> None:
    spec = parse_spec(HOPPER)
    robot = SimRobot(spec, seed=0)
    sensors = robot.reset()
    data, model = robot._world.data, robot._world.model
    for _ in range(20):
        before = sensors.odometry["odom"].position
        sensors = robot.step({"motors": np.array([0.5, -0.5, 0.5, -0.5])})
    seen, odometry = observe(spec, sensors), sensors.odometry["odom"]
    x, y, z, w = odometry.orientation
    assert (x, z) == (0.0, 0.0) and abs(y) > 0.01  # it moves in a plane
    cos, sin = 1 - 2 * y * y, 2 * w * y
    world = np.array([cos * odometry.linear_velocity[0] + sin * odometry.linear_velocity[2], 0.0])
    world[1] = cos * odometry.linear_velocity[2] - sin * odometry.linear_velocity[0]
    np.testing.assert_allclose(world, (odometry.position - before)[[0, 2]] * spec.rate, atol=0.3)
    root = [model.joint(n).dofadr[0] for n in ("rootx", "rootz", "rooty")]
    np.testing.assert_allclose(world, data.qvel[root[:2]], atol=1e-9)
    np.testing.assert_allclose(odometry.angular_velocity, [0.0, data.qvel[root[2]], 0.0], atol=1e-9)
    np.testing.assert_allclose(seen["spin"], odometry.angular_velocity, rtol=1e-6)
    np.testing.assert_allclose(seen["foot"], data.body("foot").xpos, rtol=1e-6)
    np.testing.assert_allclose(seen["foot_turn"], data.body("foot").xquat[[1, 2, 3, 0]], rtol=1e-6)
    toe, heel = (float(data.sensor(n).data[0]) for n in ("touch_toe", "touch_heel"))
    np.testing.assert_allclose(sensors.arrays["feet"], [toe / 2.0, heel + 1.0])  # as the driver sends it
    np.testing.assert_allclose(seen["touch"], [toe, heel], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("odometry: {odom: torso}, ", "", "odometry 'odom': simulation.odometry must name its body"),
        ("poses: {foot_pose: foot},", "", "pose 'foot_pose': simulation.poses must name its body"),
        ("{foot_pose: foot}", "{foot_pose: paw}", "pose 'foot_pose': the model has no body paw; it has: .*foot"),
        ("{odom: torso}", "{odom: trunk}", "odometry 'odom': the model has no body trunk; it has: .*torso"),
        ("{foot_pose: foot}", "{foot_pose: foot, /foot_pose: foot}", "poses: .* '/foot_pose' .*mean foot_pose"),
        ("arrays: {feet: [touch_toe, touch_heel]}", "seed: 1", "unknown field `seed`"),
        (",\n  arrays: {feet: [touch_toe, touch_heel]}", "", "array 'feet': simulation.arrays must name its sensors"),
        ("[touch_toe, touch_heel]", "[touch_toe]", "observation 'touch' names 2 numbers, simulation.arrays gives 1"),
        ("[touch_toe, touch_heel]", "[touch_toe, touch_ear]", "array 'feet': the model has no sensor touch_ear"),
    ],
)
def test_what_odometry_poses_and_arrays_need_is_named(old: str, new: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        SimRobot(changed(old, new, HOPPER), seed=0)


def test_a_slip_in_a_cameras_topic_does_not_leave_the_default_camera() -> None:
    text = CAMERA.replace("CHANNELS", "3")
    SimRobot(parse_spec(text), seed=0)
    words = "simulation.cameras: nothing in the spec reads 'camera/imge' .* mean camera/image?"
    with pytest.raises(SpecError, match=words):
        SimRobot(changed("{camera/image: lookatcart}", "{camera/imge: lookatcart}", text), seed=0)


def test_an_expression_stands_in_place_of_the_tasks_reward_and_end() -> None:
    """What the in-process environment says is what the onboard books make of the same rows."""
    text = re.sub(
        r"^reward: .*$", 'reward: {expression: "2 * cart_position + before(force ** 2)"}', CARTPOLE_TEXT, flags=re.M
    )
    text = re.sub(r"^terminal: .*$", 'terminal: {expression: "abs(cart_position) > 0.2"}', text, flags=re.M)
    robot = SimRobot(parse_spec(text), seed=3)
    first = robot.reset()
    assert first.reward == 0.0 and not first.terminal and "task" not in first.joints
    for step in range(200):
        sensors = robot.step(force(0.9))
        position = float(np.float32(sensors.joints["joint_states"].position[0]))
        assert sensors.reward == pytest.approx(2 * position + 0.81 * (step > 0), rel=1e-12)
        assert sensors.terminal == (abs(position) > 0.2)
        if sensors.terminal:
            break
    assert sensors.terminal
    after = robot.step(force(0.0))  # the world stands still until it is reset
    assert after.terminal and after.joints["joint_states"].position[0] == sensors.joints["joint_states"].position[0]
    assert not robot.reset().terminal
