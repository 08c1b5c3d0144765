"""Motors with a torque-speed curve: at rest, without load, braking, and how a wheel runs up."""

from __future__ import annotations

import math
from pathlib import Path

import mujoco
import numpy as np
import pytest

pytest.importorskip("dm_control")
from robot_dreamer.spec import SpecError
from sim.motors import Motors
from sim.robot import SimRobot
from sim.simulation import Motor
from tests.varied import varied

STALL, FREE, INERTIA = 2.0, 8.0, 0.5
WHEEL = f"""<mujoco><option timestep="0.001" gravity="0 0 0"/><worldbody><body>
<inertial pos="0 0 0" mass="1" diaginertia="{INERTIA} {INERTIA} {INERTIA}"/><joint name="wheel" axis="0 0 1"/>
</body></worldbody><actuator><motor name="wheel" joint="wheel" gear="{{gear}}"/></actuator></mujoco>"""


def wheel(gear: float = 1.0) -> tuple[mujoco.MjModel, mujoco.MjData, Motors]:
    model = mujoco.MjModel.from_xml_string(WHEEL.format(gear=gear))
    return model, mujoco.MjData(model), Motors(model, (Motor(("wheel",), STALL, FREE),))


@pytest.mark.parametrize("gear", [1.0, -3.0])
@pytest.mark.parametrize(
    ("speed", "most", "least"),
    [
        (0.0, STALL, -STALL),
        (FREE / 2, STALL / 2, -STALL),  # half the speed, half the torque; against its motion all of it
        (FREE, 0.0, -STALL),
        (1.25 * FREE, -STALL / 4, -STALL),  # driven faster than it can turn, it brakes
        (-FREE / 2, STALL, -STALL / 2),
        (-FREE, STALL, 0.0),
    ],
)
def test_the_curve(gear: float, speed: float, most: float, least: float) -> None:
    model, data, motors = wheel(gear)
    for command, expected in ((100.0, most), (-100.0, least)):
        data.qvel[0], data.ctrl[0] = speed, math.copysign(command, command * gear)
        motors.limit(data)
        mujoco.mj_forward(model, data)
        assert data.qfrc_actuator[0] == pytest.approx(expected, abs=1e-12)


def test_a_wheel_runs_up_as_a_dc_motor_does() -> None:
    model, data, motors = wheel()
    data.ctrl[0] = 100.0
    constant = INERTIA * FREE / STALL  # s, in which it comes to 63 % of its speed
    speeds = []
    for _ in range(round(5 * constant / model.opt.timestep)):
        motors.limit(data)
        mujoco.mj_step(model, data)
        speeds.append(data.qvel[0])
    assert speeds[round(constant / model.opt.timestep) - 1] == pytest.approx((1 - math.exp(-1)) * FREE, rel=1e-3)
    assert 0.99 * FREE < speeds[-1] < FREE


def test_little_is_asked_of_it_and_it_gives_that() -> None:
    model, data, motors = wheel()
    data.ctrl[0], data.qvel[0] = 0.3, FREE / 2
    motors.limit(data)
    mujoco.mj_forward(model, data)
    assert data.qfrc_actuator[0] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("speed", "most", "least"),
    [(0.0, 1.0, -0.5), (FREE / 2, 1.0, -0.5), (0.75 * FREE, 0.5, -0.5), (1.5 * FREE, -0.5, -0.5), (-FREE, 1.0, 0.0)],
)
def test_what_an_actuator_is_limited_to_cuts_the_line_off(speed: float, most: float, least: float) -> None:
    text = WHEEL.format(gear=1.0).replace('gear="1.0"', 'forcelimited="true" forcerange="-0.5 1.0"')
    model = mujoco.MjModel.from_xml_string(text)
    data, motors = mujoco.MjData(model), Motors(model, (Motor(("wheel",), STALL, FREE),))
    for command, expected in ((100.0, most), (-100.0, least)):
        data.qvel[0], data.ctrl[0] = speed, command
        motors.limit(data)
        mujoco.mj_forward(model, data)
        assert data.qfrc_actuator[0] == pytest.approx(expected, abs=1e-12)


MOTORS = "motors: [{joints: [elbow], max_torque: 0.3, no_load_speed: 2.0}]\n"


def test_in_the_robot_each_physics_step_is_bounded(tmp_path: Path) -> None:
    spec = varied(tmp_path, MOTORS)
    robot, free = SimRobot(spec, 0), SimRobot(varied(tmp_path), 0)
    _, data = robot.physics
    for simulated in (robot, free):
        simulated.reset()
        for _ in range(40):
            simulated.step({"drive": np.array([0.0, 1.0, 0.0])})
    assert 0.0 < abs(data.joint("elbow").qvel[0]) <= 2.0
    assert not np.array_equal(data.qvel, free.physics[1].qvel)


def test_a_weaker_motor_is_weaker_at_every_speed_and_whole_again_afterwards(tmp_path: Path) -> None:
    weak = "vary: [{quantity: strength, of: elbow, range: [0.5, 0.5]}]"
    robot = SimRobot(varied(tmp_path, MOTORS + weak), 0)
    model, data = robot.physics

    def run() -> list[bytes]:
        robot.reset(1)
        return [robot.step({"drive": np.ones(3)}).joints["joint_states"].velocity.tobytes() for _ in range(5)]

    first = run()
    turning = data.joint("elbow").qvel[0]
    robot._gap._motors.limit(data)
    low, high = model.actuator("elbow").forcerange
    assert high == pytest.approx(0.15 * min(1.0, 1 - turning / 2.0))
    assert low == pytest.approx(-0.15 * min(1.0, 1 + turning / 2.0))
    assert run() == first


def test_a_drives_own_limit_is_kept_and_weaker_where_it_is_weaker(tmp_path: Path) -> None:
    motors = "motors: [{joints: [shoulder], max_torque: 20.0, no_load_speed: 2.0}]\n"
    for weak, share in (("", 1.0), ("vary: [{quantity: strength, of: shoulder, range: [0.5, 0.5]}]", 0.5)):
        robot = SimRobot(varied(tmp_path, motors + weak), 0)
        robot.reset()
        model, data = robot.physics
        for speed, expected in ((0.0, 9.0), (1.0, 9.0), (1.5, 5.0)):  # 20 N m * (1 - speed / 2), and never more than 9
            data.joint("shoulder").qvel[0] = speed
            robot._gap._motors.limit(data)
            np.testing.assert_allclose(model.actuator("shoulder").forcerange, [-9.0 * share, expected * share])


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{joints: [knee], max_torque: 1.0, no_load_speed: 1.0}", "no joint with an actuator knee; it has: shoulder"),
        ("{joints: [elbow, elbow], max_torque: 1.0, no_load_speed: 1.0}", "one motor a joint; these have more: elbow"),
        ("{joints: [elbow], max_torque: 0.0, no_load_speed: 1.0}", "max_torque must be a positive number, found 0"),
        ("{joints: [elbow], max_torque: 1.0, no_load_speed: -1.0}", "no_load_speed must be a positive number"),
        ("{joints: [], max_torque: 1.0, no_load_speed: 1.0}", "joints must name at least one"),
    ],
)
def test_motors_that_cannot_be_are_refused(tmp_path: Path, row: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        SimRobot(varied(tmp_path, f"motors: [{row}]"), 0)


def test_an_actuator_that_is_left_nothing_is_refused() -> None:
    model = mujoco.MjModel.from_xml_string(WHEEL.format(gear=1.0))
    model.actuator_forcelimited[0], model.actuator_forcerange[0] = True, (2 * STALL, 3 * STALL)
    with pytest.raises(SpecError, match=r"simulation.motors: wheel: the actuator's own forcerange leaves nothing"):
        Motors(model, (Motor(("wheel",), STALL, FREE),))
