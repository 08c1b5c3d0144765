"""What varies: each quantity changes what it says and only that, is put back, and depends on the seed alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import mujoco
import numpy as np
import pytest

from robot_dreamer.cli import main
from robot_dreamer.spec import SpecError, load_spec
from tests.unit.test_sim_robot import QUADRUPED
from tests.varied import MODEL, varied

pytest.importorskip("dm_control")
from sim.environments import make_environment
from sim.gap import drawn_once
from sim.quantities import QUANTITIES
from sim.robot import SimRobot
from sim.sensors import Sensors
from sim.simulation import Vary
from sim.variation import ModelVariation

# what MuJoCo computes from masses, armatures and places
DERIVED = {"body_subtreemass", "dof_M0", "dof_invweight0", "body_invweight0", "tendon_invweight0", "actuator_acc0"}
DERIVED |= {"cam_pos0", "cam_poscom0", "cam_mat0", "light_poscom0", "actuator_length0", "dof_length"}
DERIVED |= {"body_sameframe", "body_simple", "geom_sameframe", "site_sameframe", "bvh_aabb"}

# quantity -> pattern, range, how, array, its index, expected numbers at the upper end of a range of no width
CASES: dict[str, tuple[str, float, str, str, Any, Any]] = {
    "friction": ("floor", 0.5, "scale", "geom_friction", (0, 0), 0.45),
    "mass": ("hand", 0.3, "add", "body_mass", 4, 0.5),
    "centre_of_mass": ("hand", 0.02, "add", "body_ipos", 4, [0.02, 0.02, 0.02]),
    "armature": ("wrist", 2.0, "scale", "dof_armature", 8, 0.1),
    "damping": ("elbow", 0.4, "set", "dof_damping", 7, 0.4),
    "frictionloss": ("shoulder", 0.1, "add", "dof_frictionloss", 6, 0.3),
    "kp": ("shoulder", 1.5, "scale", "actuator_biasprm", (0, slice(3)), [0.0, -30.0, -2.0]),
    "kv": ("elbow", 2.0, "scale", "actuator_gainprm", (1, 0), 6.0),
    "strength": ("shoulder", 0.5, "", "actuator_forcerange", 0, [-4.5, 4.5]),
    "joint_offset": ("wrist", 0.1, "", "qpos0", 9, 0.1),
    "camera_position": ("eye", 0.1, "", "cam_pos", 0, [0.1, -1.9, 0.6]),
    "camera_angle": ("eye", 0.1, "", "cam_quat", 0, None),
    "camera_fovy": ("eye", 5.0, "add", "cam_fovy", 0, 50.0),
    "light": ("lamp", 0.5, "", "light_diffuse", 0, [0.3, 0.3, 0.3]),
    "colour": ("puck", 0.25, "add", "geom_rgba", 1, [1.0, 0.25, 0.25, 1.0]),
}


def arrays(model: Any) -> dict[str, np.ndarray]:
    """All that a model consists of."""
    found = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {name: value.copy() for name, value in found.items() if isinstance(value, np.ndarray)}


def test_there_is_a_case_for_each_quantity_and_a_word_in_the_docs() -> None:
    assert CASES.keys() == QUANTITIES.keys()
    page = (Path(__file__).parents[2] / "docs/simulation.md").read_text()
    table = page.split("| quantity |")[1].split("\n\n")[0]
    assert set(re.findall(r"`([a-z_]+)`", table)) >= {*QUANTITIES, "noise", "bias", "push"}


@pytest.mark.parametrize("quantity", CASES)
def test_a_quantity_changes_what_it_says_and_only_that(quantity: str) -> None:
    of, drawn, how, name, index, expected = CASES[quantity]
    model = mujoco.MjModel.from_xml_string(MODEL)
    nominal = arrays(model)
    variation = ModelVariation([(0, Vary(quantity, (drawn, drawn), of, how))], model)  # type: ignore[arg-type]
    shown = variation.draw(np.random.default_rng(0))
    assert np.unique(list(shown[quantity].values())).tolist() == [drawn] and list(shown[quantity]) == [of]
    now = arrays(model)
    changed = {key for key in now if not np.array_equal(now[key], nominal[key])}
    assert name in changed and changed <= {*QUANTITIES[quantity].fields, *DERIVED}, changed
    rest = now[name].copy()
    rest[index] = nominal[name][index]
    np.testing.assert_array_equal(rest, nominal[name])
    if expected is not None:
        np.testing.assert_allclose(now[name][index], expected, atol=1e-6)
    variation.restore()
    for key, value in arrays(model).items():
        np.testing.assert_array_equal(value, nominal[key], key)


def test_a_camera_turns_by_the_angle() -> None:
    model = mujoco.MjModel.from_xml_string(MODEL)
    before = model.cam_quat[0].copy()
    ModelVariation([(0, Vary("camera_angle", (0.1, 0.1)))], model).draw(np.random.default_rng(0))
    cosine = abs(float(before @ model.cam_quat[0]))
    assert 2 * np.arccos(cosine) == pytest.approx(0.1 * np.sqrt(3), rel=1e-4)


def test_an_inertia_goes_with_its_mass_and_what_mujoco_computes_with_both() -> None:
    model = mujoco.MjModel.from_xml_string(MODEL)
    inertia, total = model.body_inertia[4].copy(), model.body_subtreemass[2]
    ModelVariation([(0, Vary("mass", (2.0, 2.0), "hand"))], model).draw(np.random.default_rng(0))
    np.testing.assert_allclose(model.body_inertia[4], 2 * inertia)
    assert model.body_subtreemass[2] == pytest.approx(total + 0.2)


def test_what_the_file_says_as_its_statistic_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"meanmass": 0.7, "meansize": 0.07, "extent": 0.8, "center": [0.1, 0.2, 0.3]}
    words = 'meanmass="0.7" meansize="0.07" extent="0.8" center="0.1 0.2 0.3"'
    model = mujoco.MjModel.from_xml_string(MODEL.replace("<worldbody>", f"<statistic {words}/><worldbody>", 1))
    settle = mujoco.mj_setConst

    def as_in_3_5(model: Any, data: Any) -> None:
        settle(model, data)
        model.stat.meanmass, model.stat.meansize, model.stat.extent, model.stat.center = 0.5, 0.3, 5.0, np.ones(3)

    monkeypatch.setattr(mujoco, "mj_setConst", as_in_3_5)
    variation = ModelVariation([(0, Vary("mass", (2.0, 2.0), "hand"))], model)
    for change in (lambda: variation.draw(np.random.default_rng(0)), variation.restore):
        change()
        for name, value in said.items():
            np.testing.assert_array_equal(getattr(model.stat, name), value, name)


COMMANDS = np.random.default_rng(1).uniform(-1, 1, (10, 3))
ALL = """
vary:
  - {quantity: friction, range: [0.5, 1.5]}
  - {quantity: mass, of: "[uf]*", range: [0.8, 1.2]}
  - {quantity: kp, range: [0.9, 1.1]}
  - {quantity: strength, of: wrist, range: [0.7, 1.0]}
  - {quantity: damping, of: elbow, range: [0.5, 2.0], when: [0.03, 0.06]}
  - {quantity: noise, of: "joint_states.*", range: [0.0, 0.01]}
  - {quantity: bias, of: imu.angular_velocity, range: [-0.1, 0.1], when: 0.1}
  - {quantity: push, of: puck, range: [0.0, 4.0], when: [0.02, 0.06]}
delay: {sensors: {seconds: [0.0, 0.03], jitter: 0.01, loss: 0.1}, commands: {seconds: [0.0, 0.03], jitter: 0.005}}
"""


def numbers(shown: list[Sensors]) -> list[list[float]]:
    return [[*s.joints["joint_states"].position, *s.imus["imu"].angular_velocity, *s.odometry["odom"].position]
            for s in shown]  # fmt: skip


def episode(robot: SimRobot, seed: int | None) -> tuple[list[list[float]], str]:
    shown = [robot.reset(seed), *(robot.step({"drive": command}) for command in COMMANDS)]
    return numbers(shown), json.dumps(robot.drawn)


def test_all_of_it_depends_on_the_seed_and_the_number_of_the_episode_alone(tmp_path: Path) -> None:
    spec = varied(tmp_path, ALL)
    first, second = SimRobot(spec, 5), SimRobot(spec, 6)
    ours = [episode(first, None) for _ in range(3)]
    assert len({drawn for _, drawn in ours}) == 3
    episode(second, None)
    theirs = [episode(second, seed) for seed in (5, None, None)]  # after another past
    assert theirs == ours
    short = SimRobot(spec, 0)
    short.reset(5)  # an episode of no steps: the next one's draws are as after a whole one
    assert episode(short, None)[1] == ours[1][1]
    drawn = json.loads(ours[0][1])
    assert set(drawn) == {"friction", "mass", "kp", "strength", "damping", "noise", "bias", "delay", "events"}
    assert set(drawn["mass"]) == {"upper", "fore"} and 0.8 <= drawn["mass"]["upper"] != drawn["mass"]["fore"] <= 1.2
    assert {key for event in drawn["events"] for key in event} == {"time", "damping", "bias", "push"}


@pytest.mark.parametrize("robot", ["own", "dm_control"])
def test_what_varies_by_nothing_changes_no_bit(robot: str, tmp_path: Path) -> None:
    """The look between physics steps too."""
    nothing = """
vary:
  - {quantity: push, of: BODY, range: [0.0, 0.0], when: 0.02}
  - {quantity: noise, of: joint_states.position, range: [0.0, 0.0]}
"""
    if robot == "own":
        plain, same = varied(tmp_path), varied(tmp_path, nothing.replace("BODY", "puck"))
    else:
        (tmp_path / "plain.yaml").write_text(QUADRUPED)
        extra = "".join(f"  {line}\n" for line in nothing.replace("BODY", "torso").strip().splitlines())
        (tmp_path / "same.yaml").write_text(QUADRUPED + extra)
        plain, same = load_spec(tmp_path / "plain.yaml"), load_spec(tmp_path / "same.yaml")
    assert plain.hash == same.hash  # no part of the contract
    shown = []
    for spec in (plain, same):
        sim, generator = SimRobot(spec, 0), np.random.default_rng(0)
        (action,) = spec.actions
        rows = [sim.reset(2)]
        rows += [sim.step({action.name: generator.uniform(action.low, action.high)}) for _ in range(20)]
        shown.append([(s.joints["joint_states"].position.tolist(), s.reward) for s in rows])
    assert len(sim.drawn["events"]) == round(20 * sim.spec.period / 0.02) - 1
    assert shown[0] == shown[1]


def test_the_model_of_a_dm_control_task_varies_too_and_is_put_back(tmp_path: Path) -> None:
    (tmp_path / "robot.yaml").write_text(QUADRUPED + "  vary: [{quantity: mass, of: torso, range: [2.0, 3.0]}]\n")
    robot = SimRobot(load_spec(tmp_path / "robot.yaml"), 0)
    plain = SimRobot(load_spec("quadruped"), 0).physics[0].body_mass.copy()
    model = robot.physics[0]
    index = model.body("torso").id
    for _ in range(2):
        robot.reset()
        assert model.body_mass[index] == pytest.approx(plain[index] * robot.drawn["mass"]["torso"])
        others = np.delete(model.body_mass, index)
        np.testing.assert_array_equal(others, np.delete(plain, index))


def test_noise_and_bias(tmp_path: Path) -> None:
    rows = """
vary:
  - {quantity: noise, of: joint_states.velocity, range: [0.2, 0.2]}
  - {quantity: bias, of: joint_states.position, range: [0.1, 0.3]}
  - {quantity: noise, of: imu.orientation, range: [0.05, 0.05]}
"""
    robot, plain = SimRobot(varied(tmp_path, rows), 0), SimRobot(varied(tmp_path), 0)
    robot.reset(1), plain.reset(1)
    still = {"drive": np.zeros(3)}
    shown, true = zip(*((robot.step(still), plain.step(still)) for _ in range(300)), strict=True)
    noise = np.array(
        [
            s.joints["joint_states"].velocity - t.joints["joint_states"].velocity
            for s, t in zip(shown, true, strict=True)
        ]
    )
    assert noise.std() == pytest.approx(0.2, rel=0.1) and abs(noise.mean()) < 0.03
    bias = np.array(
        [
            s.joints["joint_states"].position - t.joints["joint_states"].position
            for s, t in zip(shown, true, strict=True)
        ]
    )
    np.testing.assert_allclose(bias, np.tile(robot.drawn["bias"]["joint_states.position"], (300, 1)), atol=1e-12)
    assert len(set(bias[0].round(6))) == 3 and (bias > 0.1).all()
    for s in shown:
        assert np.linalg.norm(s.imus["imu"].orientation) == pytest.approx(1.0)
    np.testing.assert_array_equal(robot.physics[1].qpos, plain.physics[1].qpos)


def test_a_push_gives_its_impulse(tmp_path: Path) -> None:
    robot = SimRobot(varied(tmp_path, "vary: [{quantity: push, of: puck, range: [1.0, 3.0], when: [0.15, 0.15]}]"), 0)
    robot.reset(0)
    before = robot.physics[1].qvel[:2].copy()
    for _ in range(14):  # it begins after 0.15 s and lasts 0.1 s
        robot.step({"drive": np.zeros(3)})
    (event,) = robot.drawn["events"]
    assert event["time"] == pytest.approx(0.15) and 1.0 <= np.linalg.norm(event["push"]["puck"]) <= 3.0
    np.testing.assert_allclose(2.0 * (robot.physics[1].qvel[:2] - before), event["push"]["puck"], rtol=1e-6)


def test_what_pushes_one_body_at_once_gives_all_its_impulses(tmp_path: Path) -> None:
    """The first to let go cut the other one off."""
    row = "{quantity: push, of: puck, range: [1.0, 3.0], when: WHEN}"
    robot = SimRobot(varied(tmp_path, f"vary: [{row.replace('WHEN', '0.15')}, {row.replace('WHEN', '0.17')}]"), 0)
    robot.reset(0)
    before = robot.physics[1].qvel[:2].copy()
    for _ in range(14):
        robot.step({"drive": np.zeros(3)})
    events = robot.drawn["events"]
    assert [event["time"] for event in events] == pytest.approx([0.15, 0.17])
    given = np.sum([event["push"]["puck"] for event in events], axis=0)
    np.testing.assert_allclose(2.0 * (robot.physics[1].qvel[:2] - before), given, rtol=1e-6)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("quantity: frction, range: [1, 1]", ["vary[0]: unknown quantity 'frction'; did you mean friction?"]),
        ("quantity: mass, of: leg, range: [1, 1]", ["mass: no body with mass is called 'leg'; there are: puck, upper"]),
        ("quantity: kp, of: wrist, range: [1, 1]", ["no actuator with kp is called 'wrist'; there are: shoulder"]),
        ("quantity: mass, of: hand, range: [-1, 1]", ["mass of hand: scale by -1 makes [0.2] [-0.2]; expected"]),
        ("quantity: damping, of: elbow, how: add, range: [-1, 0]", ["of elbow: add by -1", "expected 0 to inf"]),
        ("quantity: camera_fovy, how: set, range: [60, 190]", ["camera_fovy of eye: set by 190", "0 to 179"]),
        ("quantity: strength, how: add, range: [0, 1]", ["strength: how must be scale, found add"]),
        ("quantity: mass, range: [2, 1]", ["range must be two finite numbers, the lower one first", "vary[0]"]),
        ("quantity: mass, range: [1, 1], when: always", ["when must be episode or seconds, found 'always'"]),
        ("quantity: mass, range: [1, 1], when: [0, 1]", ["when must be positive seconds"]),
        ("quantity: mass, range: [1, 1], wen: 1.0", ["unknown field `wen`"]),
        ("quantity: push, range: [0, 1]", ["push: when must say the seconds between two pushes"]),
        ("quantity: push, range: [-2, 1], when: 1.0", ["an impulse is at least 0 N s, found -2"]),
        ("quantity: noise, of: joints, range: [0, 1]", ["called 'joints'; there are: joint_states.position"]),
        ("quantity: noise, range: [-0.1, 1]", ["a standard deviation is at least 0, found -0.1"]),
        ("quantity: bias, how: scale, range: [0, 1]", ["bias: how must be add, found scale"]),
        ("quantity: mass, range: [1, 1]}, {quantity: mass, of: hand, range: [1, 1]", ["two rows change mass of hand"]),
    ],
)  # fmt: skip
def test_what_cannot_vary_is_refused_by_name(row: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        SimRobot(varied(tmp_path, f"vary: [{{{row}}}]"), 0)
    for word in ["robot 'varied' cannot be simulated", *words]:
        assert word in str(caught.value)


def test_what_nobody_draws_again_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert drawn_once(varied(tmp_path, ALL)) == ""
    file = tmp_path / "varied.yaml"
    file.write_text(file.read_text().replace(", reset_service: reset", ""))
    said = drawn_once(load_spec(file))
    for word in ("'varied' has no episode.reset_service", "vary[0] (friction)", "delay.sensors", "delay.commands"):
        assert word in said
    assert "damping" not in said and "push" not in said  # drawn amid an episode
    make_environment(f"robot:{file}", 0)
    assert said in caplog.text
    file.write_text(file.read_text().split("  vary:")[0] + "  vary: [{quantity: mass, range: [2.0, 2.0]}]\n")
    assert drawn_once(load_spec(file)) == ""  # it is the same in each episode anyway


def test_evaluations_say_what_was_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    varied(tmp_path, ALL)
    output, robot = tmp_path / "eval.json", str(tmp_path / "varied.yaml")
    assert main(["evaluate", "--robot", robot, "--episodes", "2", "--output", str(output)]) == 0
    (first, second) = json.loads(output.read_text())["evaluation"]["drawn"]
    assert first["mass"] != second["mass"] and first["delay"]["sensors"] != second["delay"]["sensors"]
    alone = SimRobot(load_spec(robot), 0)
    alone.reset(1)
    assert alone.drawn["mass"] == second["mass"]
    assert msgspec.json.decode(msgspec.json.encode(first)) == first
