"""An action that moves a tip in space: how far, where not, and what happens when something is in the way."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("dm_control")
from robot_dreamer.spec import ROBOTS_DIRECTORY, SpecError, parse_spec
from sim.robot import SimRobot

TEXT = (ROBOTS_DIRECTORY / "ur5_pick.yaml").read_text()
MODEL = (ROBOTS_DIRECTORY / "../../sim/models/ur5_pick.xml").resolve()
STAY, LEFT, RIGHT, NEAR, FAR, DOWN, UP = range(7)
OPEN = np.array([0.0425])


class Arm:
    """The UR5 without its camera's pictures."""

    def __init__(self, robot: SimRobot, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            robot._world, "render", lambda camera, height, width: np.zeros((height, width, 3), np.uint8)
        )
        self.robot, self.data = robot, robot.physics[1]
        robot.reset(0)

    def move(self, *classes: int) -> NDArray[np.float64]:
        """Where the tip is after these moves, m."""
        for chosen in classes:
            self.robot.step({"move": np.asarray(self.robot.spec.actions[0].values[chosen]), "gripper": OPEN})
        return self.tip()

    def tip(self) -> NDArray[np.float64]:
        return self.data.body("tool0_tip").xpos.copy()


Make = Callable[..., Arm]


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Make:
    def make(*changes: tuple[str, str]) -> Arm:
        text = TEXT.replace("mjcf:../../sim/models/ur5_pick.xml", f"mjcf:{MODEL}")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        return Arm(SimRobot(parse_spec(text), seed=0), monkeypatch)

    return make


def test_each_move_is_four_centimetres_and_the_gripper_points_down(arm: Make) -> None:
    ours = arm()
    before, turned = ours.tip(), ours.data.body("tool0_tip").xmat.copy()
    np.testing.assert_allclose(ours.move(STAY), before, atol=1e-3)
    for chosen, step in (
        (UP, (0, 0, 0.04)),
        (LEFT, (-0.04, 0, 0)),
        (FAR, (0, 0.04, 0)),
        (RIGHT, (0.04, 0, 0)),
        (NEAR, (0, -0.04, 0)),
        (DOWN, (0, 0, -0.04)),
    ):
        after = ours.move(chosen)
        np.testing.assert_allclose(after - before, step, atol=2e-3)
        before = after
    np.testing.assert_allclose(ours.data.body("tool0_tip").xmat, turned, atol=0.01)


def test_nothing_leads_out_of_the_workspace(arm: Make) -> None:
    ours = arm()
    low = ours.move(*[DOWN] * 4)
    assert low[2] == pytest.approx(-0.01, abs=2e-3)  # not into the table
    assert ours.move(*[LEFT] * 4)[0] == pytest.approx(-0.08, abs=2e-3)  # not through the wall of the bin
    high = ours.move(*[UP] * 2, *[LEFT] * 12)
    assert high[0] == pytest.approx(-0.4, abs=2e-3)  # but over it, to the end of the other one
    assert ours.move(*[DOWN] * 3, RIGHT, RIGHT)[0] == pytest.approx(-0.32, abs=2e-3)


def test_a_move_that_is_held_back_is_given_up(arm: Make) -> None:
    ours = arm()
    begun = ours.tip()
    ours.data.xfrc_applied[ours.data.body("tool0_tip").id, :3] = (0.0, 0.0, 2000.0)  # as by something in the way
    assert ours.move(DOWN)[2] > begun[2] + 0.02
    ours.data.xfrc_applied[:] = 0.0
    np.testing.assert_allclose(ours.move(STAY, STAY), begun, atol=2e-3)
    assert ours.move(DOWN)[2] == pytest.approx(begun[2] - 0.04, abs=2e-3)


def test_turns_are_about_the_axes_of_the_world(arm: Make) -> None:
    """The gripper points down: its own axes are others."""
    ours = arm(("names: [linear.x, linear.y, linear.z]", "names: [angular.x, angular.y, angular.z]"))
    begun = ours.tip()
    for chosen, axis in ((RIGHT, 0), (FAR, 1), (UP, 2)):
        before = ours.data.body("tool0_tip").xmat.reshape(3, 3).copy()
        ours.move(*[chosen] * 5)  # each 0.08 rad/s for half a second
        turn, turned = np.empty(4), np.empty(3)
        mujoco.mju_mat2Quat(turn, (ours.data.body("tool0_tip").xmat.reshape(3, 3) @ before.T).ravel())
        mujoco.mju_quat2Vel(turned, turn, 1.0)
        np.testing.assert_allclose(turned, 0.2 * np.eye(3)[axis], atol=0.01)
    np.testing.assert_allclose(ours.tip(), begun, atol=3e-3)


def test_what_is_out_of_reach_is_no_move(arm: Make) -> None:
    ours = arm(("low: [-0.09, -0.55, -0.02], high: [0.01, -0.45, 0.12]", "low: [-9, -9, -9], high: [9, 9, 9]"))
    there = ours.move(*[UP] * 24)
    assert 0.4 < there[2] < 1.0  # its arm is 0.95 m long
    np.testing.assert_allclose(ours.move(UP, UP), there, atol=2e-3)
    assert ours.move(DOWN)[2] == pytest.approx(there[2] - 0.04, abs=4e-3)


def test_the_servo_keeps_its_place_from_the_first_tick_on(arm: Make) -> None:
    late = arm(("  start:\n", "  delay: {commands: {seconds: [0.3, 0.3]}}\n  start:\n"))
    begun = late.tip()
    np.testing.assert_allclose(late.move(STAY), begun, atol=1e-3)


def test_late_moves_are_moves_too_and_no_obstacle(arm: Make) -> None:
    """A period late: when a move begins to act the next one is sent, and the tip is a whole move behind."""
    moves = [UP, FAR, LEFT, DOWN, RIGHT]
    plain, late = arm(), arm(("  start:\n", "  delay: {commands: {seconds: [0.5, 0.5]}}\n  start:\n"))
    seen = [late.move(chosen) for chosen in [*moves, STAY]]
    np.testing.assert_allclose(seen[1:], [plain.move(chosen) for chosen in moves], atol=2e-3)


def test_a_move_that_comes_right_behind_another_finds_the_tip_on_its_way(arm: Make) -> None:
    ours = arm(("low: [-0.09, -0.55, -0.02], high: [0.01, -0.45, 0.12]", "low: [-9, -9, -9], high: [9, 9, 9]"))
    servo, begun = ours.robot._servos["move"], ours.tip()
    up = np.asarray(ours.robot.spec.actions[0].values[UP])
    for at in (0.0, 0.1, 0.2):
        ours.data.time = at
        servo.move(up, ours.data)  # the tip has not moved at all
    np.testing.assert_allclose(servo._target.position - begun, [0.0, 0.0, 0.12], atol=2e-3)
    ours.data.time = 0.7
    servo.move(up, ours.data)  # now it ought to have
    np.testing.assert_allclose(servo._target.position - begun, [0.0, 0.0, 0.04], atol=2e-3)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("body: tool0_tip", "body: tool", "simulation.cartesian.move: the model has no body tool; it has: .*tool0_tip"),
        (
            "joints: [shoulder_pan_joint,",
            "joints: [pan,",
            "simulation.cartesian.move: the model has no actuated joint pan",
        ),
        ("  cartesian:\n    move:", "  cartesian:\n    mov:", "simulation.cartesian: the robot has no action mov"),
        (
            "type: geometry_msgs/msg/TwistStamped\n      names: [linear.x, linear.y, linear.z]\n      frame: base",
            "type: geometry_msgs/msg/Twist\n      names: [linear.x, linear.y, linear.z]",
            "its command must be a geometry_msgs/msg/TwistStamped, found geometry_msgs/msg/Twist",
        ),
        (
            "low: [-0.09, -0.55, -0.02], high: [0.01,",
            "low: [0.09, -0.55, -0.02], high: [0.01,",
            "each low must be below",
        ),
        ("      workspace:", "      slack: 0.0\n      workspace:", "slack must be positive m, found 0"),
    ],
)
def test_what_does_not_fit_is_named(arm: Make, old: str, new: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        arm((old, new))
