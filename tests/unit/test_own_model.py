"""Models of one's own: those of others move as the spec says, the same by the same seed; what does not fit is named."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from robot_dreamer.environment import EpisodeBroken
from robot_dreamer.spec import SpecError, load_spec, parse_spec
from tests.own_models import NAMES, place
from tests.pictures import taking_pictures

pytest.importorskip("dm_control")
pytest.importorskip("gymnasium")
from sim.evaluate import evaluate
from sim.robot import SimRobot
from sim.robot_environment import RobotEnvironment
from sim.sensors import Sensors, observe


def simulate(robot: SimRobot, seed: int, steps: int) -> list[Sensors]:
    """An episode under random commands."""
    generator = np.random.default_rng(seed)
    shown = [robot.reset(seed)]
    for _ in range(steps):
        low, high = ([np.asarray(getattr(a, side)) for a in robot.spec.actions] for side in ("low", "high"))
        drawn = {a.name: generator.uniform(x, y) for a, x, y in zip(robot.spec.actions, low, high, strict=True)}
        shown.append(robot.step(drawn))
    return shown


@pytest.mark.parametrize("name", NAMES)
def test_models_that_others_wrote(name: str, tmp_path: Path) -> None:
    spec = load_spec(place(name, tmp_path))
    robot = SimRobot(spec, 0)
    with taking_pictures():
        shown = simulate(robot, 3, 4)
    seen = [observe(spec, sensors) for sensors in shown]
    assert all(
        o.shape == seen[0][o.name].shape and np.isfinite(x[o.name]).all() for x in seen for o in spec.observations
    )
    assert np.abs(seen[4]["joints"] - seen[0]["joints"]).max() > 0.01
    again = simulate(SimRobot(spec, 8), 3, 4)  # another robot with another past
    for one, other in zip(seen, again, strict=True):
        for key, value in observe(spec, other).items():
            np.testing.assert_array_equal(one[key], value)
    assert [s.reward for s in shown] == [s.reward for s in again] and shown[1].reward != 0.0
    assert (shown[2].stamp - shown[1].stamp) / 1e9 == pytest.approx(spec.period)
    assert robot.physics[1].time == pytest.approx(4 * spec.period)


def test_whole_steps_of_the_model_make_a_control_period(tmp_path: Path) -> None:
    """The ant by MuJoCo alone: five steps of 0.01 s with the motors held."""
    file = place("ant", tmp_path)
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "ant.xml"))
    data = mujoco.MjData(model)
    robot = SimRobot(load_spec(file), 0)
    robot.reset()
    torques = np.linspace(-0.5, 0.5, 8)
    spec_order = robot.spec.actions[0].command.names
    for i in range(model.nu):
        data.ctrl[i] = torques[spec_order.index(model.joint(model.actuator_trnid[i, 0]).name)]
    for _ in range(8):
        sensors = robot.step({"torques": torques})
        mujoco.mj_step(model, data, 5)
    np.testing.assert_allclose(sensors.odometry["odom"].position, data.qpos[:3], atol=1e-9)


def test_drives_are_what_their_kind_says(tmp_path: Path) -> None:
    robot = SimRobot(load_spec(place("arm", tmp_path)), 0)
    robot.reset()
    commanded = {"targets": np.array([0.4, -0.7])}
    for _ in range(100):
        sensors = robot.step(commanded)
    shown = sensors.joints["joint_states"]
    np.testing.assert_allclose(shown.position, commanded["targets"], atol=0.05)  # gravity's share is left
    robot.reset()
    effort = robot.step({"targets": np.array([1.5, 2.0])}).joints["joint_states"].effort
    assert effort[1] == pytest.approx(8.0)  # the drive's own limit; kp alone would give 160
    assert effort[0] == pytest.approx(30.0)  # the URDF's
    jaco = SimRobot(load_spec(place("jaco", tmp_path)), 0)
    jaco.reset()
    for _ in range(40):
        sensors = jaco.step({"joint_speeds": np.array([0.5, -0.25, 0.1]), "wrist": np.array([0.3, -0.2, 0.6])})
    shown = sensors.joints["joint_states"]
    np.testing.assert_allclose(shown.velocity[:3], [0.5, -0.25, 0.1], atol=0.05)
    np.testing.assert_allclose(shown.position[3:], [0.3, -0.2, 0.6], atol=0.05)
    stiff = {"kv: 4.0, force: 8.0": "kv: 400.0"}  # at 0.002 s the explicit integrator loses it
    steady = SimRobot(load_spec(place("arm", tmp_path, **stiff)), 0)
    steady.reset()
    assert max(abs(steady.step(commanded).joints["joint_states"].velocity[1]) for _ in range(50)) < 0.5
    text = {"position, kp: 200.0, kv: 10.0": "torque"}
    torque = SimRobot(load_spec(place("arm", tmp_path, **text)), 0)
    torque.reset()
    assert torque.step({"targets": np.array([1.25, 0.0])}).joints["joint_states"].effort[0] == 1.25


KEYFRAMES = '<keyframe><key name="low" qpos="0.1 0.2"/><key name="high" qpos="-0.3 0.4"/></keyframe>'
MOTORS = '<motor name="s" joint="shoulder"/><motor joint="elbow"/>'
PENDULUM = f"""<mujoco><option timestep="0.005"/><worldbody><body><joint name="shoulder" range="-90 90"/>
<geom size=".05" pos="0 0 .3"/><body pos="0 0 .6"><joint name="elbow"/><geom size=".05" pos="0 0 .3"/></body></body>
</worldbody><actuator>{MOTORS}</actuator>{KEYFRAMES}</mujoco>"""
ROBOT = """
name: pendulum
rate: 50.0
observations:
  - {name: joints, shape: [2], source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: position,
     names: [shoulder, elbow]}}
actions:
  - {name: torques, low: [-1, -1], high: [1, 1], command: {topic: commands}}
reward: {expression: "norm(torques)"}
episode: {max_steps: 10}
simulation: {model: "mjcf:model.xml"}
"""


def pendulum(folder: Path, robot: str = ROBOT, model: str = PENDULUM) -> SimRobot:
    (folder / "robot.yaml").write_text(robot)
    (folder / "model.xml").write_text(model)
    return SimRobot(load_spec(folder / "robot.yaml"), 0)


def test_an_episode_begins_with_the_keyframe(tmp_path: Path) -> None:
    def start(robot: SimRobot) -> list[float]:
        robot.reset()
        robot.step({"torques": np.zeros(2)})
        return robot.reset().joints["joint_states"].position.tolist()

    assert start(pendulum(tmp_path)) == [0.1, 0.2]
    chosen = ROBOT.replace('model.xml"', 'model.xml", keyframe: high')
    assert start(pendulum(tmp_path, chosen)) == [-0.3, 0.4]
    assert start(pendulum(tmp_path, model=PENDULUM.replace(KEYFRAMES, ""))) == [0.0, 0.0]
    bent = chosen.replace("keyframe: high", "keyframe: high, start: {elbow: 1.5}")
    assert start(pendulum(tmp_path, bent)) == [-0.3, 1.5]


def test_meshes_of_a_ros_package_lie_around_the_urdf(tmp_path: Path) -> None:
    (tmp_path / "meshes").mkdir()
    (tmp_path / "urdf").mkdir()
    file = place("arm", tmp_path / "urdf")
    urdf = (tmp_path / "urdf/arm.urdf").read_text()
    mesh = '<mesh filename="package://arm_description/meshes/upper.obj"/>'
    (tmp_path / "urdf/arm.urdf").write_text(urdf.replace('<box size="0.04 0.04 0.3"/>', mesh))
    with pytest.raises(SpecError, match=r"package://arm_description/meshes/upper.obj: there is no meshes/upper.obj"):
        SimRobot(load_spec(file), 0)
    corners = [(x, y, z) for x in (-0.02, 0.02) for y in (-0.02, 0.02) for z in (-0.15, 0.15)]
    faces = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + [f"f {face}" for face in faces]
    (tmp_path / "meshes/upper.obj").write_text("\n".join(lines))
    assert SimRobot(load_spec(file), 0).physics[0].nmesh == 1


def test_a_world_that_loses_itself_is_said(tmp_path: Path) -> None:
    wild = PENDULUM.replace('joint="elbow"', 'joint="elbow" gear="1e30"')
    robot = pendulum(tmp_path, model=wild)
    robot.reset()
    with pytest.raises(EpisodeBroken, match="the simulation lost itself"):
        robot.step({"torques": np.ones(2)})
    assert np.isfinite(robot.reset().joints["joint_states"].position).all()
    result = evaluate(None, robot.spec, episodes=2)
    assert result.failed == 2


def test_a_spec_without_a_file_says_what_to_do(tmp_path: Path) -> None:
    robot = pendulum(tmp_path)
    sent = parse_spec(robot.spec.to_json())
    assert sent == robot.spec and str(tmp_path) not in robot.spec.to_json()
    with pytest.raises(SpecError, match=r"mjcf:model.xml lies beside the robot's file.*give the YAML file"):
        SimRobot(sent, 0)
    whole = ROBOT.replace("mjcf:", f"mjcf:{tmp_path}/")
    SimRobot(parse_spec(whole), 0).reset()


SIGNAL = "type: sensor_msgs/msg/JointState, field: position, names: [reward]"
DRIVE = 'model.xml", drives: [{joints: [%s], kind: %s}]'


@pytest.mark.parametrize(
    ("robot", "model", "words"),
    [
        (("model.xml", "absent.xml"), None, ["there is no file", "absent.xml", "from the robot's file"]),
        (("mjcf:", "urdf:"), None, ["root element <mujoco>", "which is mjcf:"]),
        (None, ("</worldbody>", ""), ["model.xml: MuJoCo cannot read the model", "XML"]),
        (None, (PENDULUM, "a model"), ["model.xml is not XML", "line 1"]),
        (None, ('joint="elbow"', 'joint="knee"'), ["model.xml: MuJoCo cannot read", "knee"]),
        (("elbow]", "knee]"), None, ["no joint knee", "shoulder, elbow"]),
        (None, ('<motor name="s" joint="shoulder"/>', ""), ["which of these it drives: elbow"]),
        (None, (MOTORS, ""), ["no actuators", "drives", "shoulder, elbow"]),
        (('model.xml"', 'model.xml", keyframe: up'), None, ["model.xml: the model has no keyframe up", "low, high"]),
        (('model.xml"', DRIVE % ("knee", "torque")), None, ["no hinge or slide joint knee", "shoulder, elbow"]),
        (('model.xml"', DRIVE % ("elbow", "torque")), None, ["these have another: elbow"]),
        (('model.xml"', DRIVE % ("elbow", "position")), None, ["a position drive needs kp", "drives[0]"]),
        (('model.xml"', DRIVE % ("elbow", "torque, kv: 1.0")), None, ["a torque drive has no kv, found 1"]),
        (('model.xml"', DRIVE % ("elbow", "torque, max_error: 1")), None, ["a torque drive has no max_error, found 1"]),
        (('model.xml"', DRIVE % ("elbow", "servo")), None, ["servo", "drives[0].kind"]),
        (('{expression: "norm(torques)"}', f"{{topic: task, {SIGNAL}}}"), None,
         ["reward: a model of one's own has no task", "'task'", "expression", "docs/rewards.md"]),
        (("rate: 50.0", "rate: 60.0"), None, ["60 Hz", "0.005 s", "100, 66.66666667, 50, 40"]),
        (("[-1, -1]", "[-3, -1]"), ('name="s"', 'name="s" ctrlrange="-2 2"'), ["[-3.0, 1.0]", "[-2.0, 2.0]", "'s'"]),
        (('mjcf:model.xml"', 'dm_control:cartpole/swingup", keyframe: up'), None, ["keyframe: only a model"]),
        (('model.xml"', 'model.xml", start: {knee: 0.0}'), None, ["simulation.start", "joint knee", "shoulder, elbow"]),
        (('model.xml"', 'model.xml", start: {shoulder: 2}'), None, ["expected -1.5708 to 1.5708, found 2"]),
        (('model.xml"', 'model.xml", start: {shoulder: [-1, 2]}'), None, ["expected -1.5708 to 1.5708, found 2"]),
        (('model.xml"', 'model.xml", start: {elbow: [1, 0]}'), None, ["start of elbow", "the lower one first"]),
        (('model.xml"', 'model.xml", start: {elbow: {x: 1}}'), None, ["free joint or mocap body elbow", "has: none"]),
        (('model.xml"', 'model.xml", start: {b: {z: [1, 0]}}'), None, ["z must be", "the lower one first", "start"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(
    robot: tuple[str, str] | None, model: tuple[str, str] | None, words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as caught:
        pendulum(tmp_path, ROBOT.replace(*robot or ("", "")), PENDULUM.replace(*model or ("", "")))
    for word in ["robot 'pendulum' cannot be simulated", *words]:
        assert word in str(caught.value)


def test_episodes_begin_anywhere_that_start_says(tmp_path: Path) -> None:
    drawn = 'model.xml", start: {elbow: [-1.0, 1.0], shoulder: 0.25}'
    robot = pendulum(tmp_path, ROBOT.replace('model.xml"', drawn))

    def start(seed: int | None = None) -> list[float]:
        return robot.reset(seed).joints["joint_states"].position.tolist()

    begun = [start(3), *(start() for _ in range(50))]
    assert begun == [start(3), *(start() for _ in range(50))] != [start(4), *(start() for _ in range(50))]
    shoulders, elbows = zip(*begun, strict=True)
    assert set(shoulders) == {0.25} and len(set(elbows)) == 51
    assert -1.0 <= min(elbows) < -0.8 and 0.8 < max(elbows) <= 1.0


def test_rates_that_are_said_to_fit_are_near_and_may_be_typed_off(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="fit: 33.33333333, 31.25, 29.41176471, 27.77777778; or") as refused:
        SimRobot(load_spec(place("arm", tmp_path, **{"50.0": "30.0"})), 0)
    for rate in str(refused.value).split("fit: ")[1].split(";")[0].split(", "):
        SimRobot(load_spec(place("arm", tmp_path, **{"50.0": rate})), 0)
    with pytest.raises(SpecError, match="fit: 500, 250;"):
        SimRobot(load_spec(place("arm", tmp_path, **{"50.0": "900"})), 0)


BODIES = """<body name="ball" pos="0 0 2"><freejoint/><geom size=".05"/></body>
<body name="goal" mocap="true" pos="0 0 1" quat="0 1 0 0"/></worldbody>"""


def test_free_bodies_and_goals_begin_anywhere(tmp_path: Path) -> None:
    places = "{ball: {x: [-1, 1], tumbled: true}, goal: {z: 0.5, turn: [0.0, 3.0]}}"
    robot = pendulum(
        tmp_path,
        ROBOT.replace('model.xml"', f'model.xml", start: {places}'),
        PENDULUM.replace("</worldbody>", BODIES).replace(KEYFRAMES, ""),
    )
    data = robot.physics[1]
    ups, turns = [], []
    for _ in range(200):
        robot.reset()
        (x, y, z), goal = data.body("ball").xpos, data.body("goal")
        assert -1 <= x <= 1 and (y, z) == (0.0, 2.0) and goal.xpos.tolist() == [0.0, 0.0, 0.5]
        ups.append(data.body("ball").xmat[8])
        matrix = goal.xmat.reshape(3, 3)
        assert matrix[2, 2] == pytest.approx(-1.0)  # it stays upside down
        turns.append(np.arctan2(matrix[1, 0], matrix[0, 0]))
    assert abs(np.mean(ups)) < 0.1 and min(ups) < -0.95 and max(ups) > 0.95  # all orientations alike
    assert 0.0 < min(turns) < 0.2 and 2.8 < max(turns) < 3.0


def test_a_robot_that_nobody_resets_goes_on(tmp_path: Path) -> None:
    """After one period of the neutral command, as the policy node sends it between two episodes."""
    held, neutral = {"torques": np.array([1.0, -1.0])}, {"torques": np.zeros(2)}
    robot = pendulum(tmp_path)
    environment, seen = RobotEnvironment(str(tmp_path / "robot.yaml"), 0), []
    for _ in range(2):
        steps = [environment.reset(), *(environment.step(held) for _ in range(10))]
        assert steps[0].reward == 0.0 and [step.is_last for step in steps] == [False] * 10 + [True]
        seen += [step.observation["joints"].tolist() for step in steps]
    shown = [robot.reset(), *(robot.step(held) for _ in range(10))]
    shown += [robot.step(neutral), *(robot.step(held) for _ in range(10))]
    assert seen == [np.float32(sensors.joints["joint_states"].position).tolist() for sensors in shown]
