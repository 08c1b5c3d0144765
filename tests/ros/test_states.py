"""The node's states, services, take-over, heartbeat, lifecycle and parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State as Lifecycle
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_msgs.msg import Bool

from robot_dreamer.onboard.states import DriveState
from robot_dreamer.record import INTERVENTION, RANDOM_POLICY, TAKEN_OVER, validate_record
from robot_dreamer.spec.safety import RULES
from ros_nodes.health import complain
from ros_nodes.parameters import ParameterError
from ros_nodes.policy_node import PolicyNode
from tests.onboard_models import TOY, make_bundle, toy_spec
from tests.ros.conftest import Ros
from tests.ros.fake_robot import FakeRobot, joint_state
from tests.ros.stage import Stage
from tests.ros.test_guard import LONG, NEUTRAL, person

pytestmark = pytest.mark.usefixtures("proved_here", "reported_often")
Make = Callable[..., Stage]
SLOW = TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], max_rate: [4.0, 4.0]")  # 0.08 per tick


def is_in(stage: Stage, state: DriveState) -> bool:
    return bool(stage.components.states.state is state)


def test_without_automatic_people_lead_the_robot_through_the_states(make: Make) -> None:
    stage = make(automatic=False, max_steps=10_000)
    heartbeat = stage.watch(Bool, "policy/heartbeat")
    stage.until(lambda: heartbeat, "a heartbeat")
    stage.silent()
    assert is_in(stage, DriveState.PASSIVE) and not heartbeat[-1].data and stage.robot.resets == []
    answer = stage.call("policy/stand")
    assert (answer.success, answer.message) == (True, "stand is wanted; it was passive")
    stage.until(lambda: is_in(stage, DriveState.STAND), "to stand")
    stage.only(NEUTRAL)
    assert heartbeat[-1].data and stage.rows == []
    assert stage.call("policy/policy").success
    stage.until(lambda: stage.controller.steps >= 3, "steps")
    assert is_in(stage, DriveState.POLICY) and stage.robot.resets
    assert stage.call("policy/passive").success
    stage.until(lambda: is_in(stage, DriveState.PASSIVE) and not stage.components.states.driving, "to rest")
    stage.silent()
    assert stage.controller.abandoned >= 1 and not stage.rows[-1].is_last
    stage.until(lambda: not heartbeat[-1].data, "the heartbeat's end")


def test_a_fault_leads_to_passive_and_voids_what_was_wanted(make: Make) -> None:
    stage = make(automatic=False, max_steps=10_000)
    stage.call("policy/policy")
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    stage.call("policy/e_stop")
    stage.until(lambda: is_in(stage, DriveState.FAULT), "the fault")
    answer = stage.call("policy/policy")
    assert not answer.success and "a fault is latched (e_stop: the service e_stop was called)" in answer.message
    stage.call("policy/clear_fault")
    stage.until(lambda: is_in(stage, DriveState.PASSIVE), "passive")
    steps = stage.controller.steps
    stage.silent()
    assert stage.controller.steps == steps
    stage.call("policy/policy")
    stage.until(lambda: stage.controller.steps > steps, "steps again")


def test_stand_starts_from_the_measured_pose(make: Make) -> None:
    source = "{topic: arm, type: sensor_msgs/msg/JointState, field: position, names: [a, b]}"
    watched = f"{{name: at, shape: [2], source: {source}}}"
    stage = make(spec=f"{SLOW}watched: [{watched}]\nsafety: {{pose: {{torque: at}}}}\n", automatic=False)
    stage.call("policy/stand")
    stage.until(lambda: is_in(stage, DriveState.STAND), "to stand")
    stage.silent()  # nobody knows where the robot is
    arm = stage.robot.create_publisher(type(joint_state(0, [], [])), "arm", 1)
    stage.also.append(lambda stamp: arm.publish(joint_state(stamp, ["b", "a"], [1.0, -1.0])))
    stage.until(lambda: stage.robot.commands and stage.last == NEUTRAL, "the safe pose")
    way = np.array([[-1.0, 1.0], *stage.sent])
    assert (np.abs(np.diff(way, axis=0)) < 0.08 + 1e-6).all() and len(way) > 10


@pytest.mark.parametrize(
    ("stated", "expected"),
    [("range: [-3.0, 3.0], ", "-3 to 3, found"), ("", "about [-2.  0.] to [2. 1.], the command's limits, found")],
)
def test_stand_does_not_start_from_a_pose_that_cannot_be(make: Make, stated: str, expected: str) -> None:
    """A joint that reads a turn too much would be driven into its stop."""
    source = "{topic: arm, type: sensor_msgs/msg/JointState, field: position, names: [a, b]}"
    watched = f"{{name: at, shape: [2], {stated}source: {source}}}"
    stage = make(spec=f"{SLOW}watched: [{watched}]\nsafety: {{pose: {{torque: at}}}}\n", automatic=False)
    arm, place = stage.robot.create_publisher(type(joint_state(0, [], [])), "arm", 1), [1.0 + 2 * np.pi, -1.0]
    stage.also.append(lambda stamp: arm.publish(joint_state(stamp, ["b", "a"], place)))
    stage.call("policy/stand")
    stage.until(lambda: stage.controller.refused["observation_range"] > 2, "refusals")
    stage.silent()
    assert f"observation at: expected {expected}" in stage.controller.last_refusal
    place[0] = 1.0
    stage.until(lambda: stage.robot.commands and stage.last == NEUTRAL, "the safe pose")


def test_a_robot_with_a_fault_is_not_asked_to_move_itself(make: Make) -> None:
    stage = make()
    stage.until(lambda: len(stage.rows) > 3, "an episode")
    resetter = stage.components.resetter
    stage.controller.guard.latch("e_stop", "test")  # and the next tick has not come yet
    resetter.request()
    resetter.poll()
    assert resetter._future is None


def test_services_of_a_node_that_is_not_active(make: Make) -> None:
    stage = make()
    stage.node.trigger_deactivate()
    assert stage.call("policy/policy").message == "the node is not active"
    assert stage.call("policy/clear_fault").message == "there was no fault"
    assert stage.call("policy/e_stop").success
    stage.node.trigger_activate()
    stage.until(lambda: is_in(stage, DriveState.FAULT), "the fault that was latched before")
    stage.node.trigger_deactivate()
    stage.node.trigger_cleanup()
    for service in ("stand", "e_stop", "clear_fault"):
        answer = stage.call(f"policy/{service}")
        assert (answer.success, answer.message) == (False, "the node is not configured")
    assert stage.call("policy/take_over", data=True).message == "the node is not configured"


def test_a_node_that_is_started_by_hand_moves_nothing_by_itself(ros: Ros, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(TOY)
    values = {"robot": str(tmp_path / "toy.yaml"), "bundle": str(make_bundle(tmp_path / "1.bundle", toy_spec()))}
    robot = ros.add(FakeRobot(ros.context))
    node = ros.add(PolicyNode(context=ros.context, parameter_overrides=[Parameter(k, value=values[k]) for k in values]))
    assert node.bring_up()

    def publish() -> None:
        robot.tick += 1
        robot.publish()

    ros.until(lambda: not node.components.observer.missing(), "sensors", each=publish)
    ticks = node.components.runner.ticks
    ros.until(lambda: node.components.runner.ticks > ticks + 20, "ticks", each=publish)
    assert node.components.states.state is DriveState.PASSIVE
    assert not node.components.controller.steps and not robot.commands
    node.trigger_shutdown()


def test_activating_again_without_automatic_waits_for_a_person(make: Make) -> None:
    stage = make(automatic=False)
    stage.call("policy/policy")
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    stage.node.trigger_deactivate()
    stage.node.trigger_activate()
    steps = stage.controller.steps
    stage.silent()
    assert is_in(stage, DriveState.PASSIVE) and stage.controller.steps == steps


def test_a_node_that_is_activated_again_waits_for_its_sensors(make: Make) -> None:
    stage = make(max_steps=10_000, spec=f"{TOY}safety: {{stale_seconds: 0.3}}\n")
    stage.until(lambda: stage.controller.running, "an episode")
    stage.node.trigger_deactivate()
    stage.speaks = False
    stage.ros.spin(0.8)
    stage.node.trigger_activate()
    stage.ros.spin(0.5)
    assert stage.controller.guard.fault is None
    stage.speaks = True
    stage.until(lambda: stage.controller.running, "another episode")


def test_deactivate_ramps_down_within_the_ramps_rate(make: Make) -> None:
    stage = make(max_steps=10_000, spec=f"{TOY}safety: {{ramp_seconds: 0.4}}\n")  # 0.2 and 0.05 per tick
    command = person(stage, [2.0, 1.0])
    stage.until(lambda: stage.controller.running, "an episode")
    stage.until(lambda: command() or stage.controller.interventions >= 2, "the command to be far from neutral")
    stage.also.append(lambda stamp: command())
    stage.until(lambda: stage.sent[-1] == [2.0, 1.0], "the person's command")
    begin = len(stage.sent) - 1
    stage.node.trigger_deactivate()
    way = np.array(stage.sent[begin:])
    assert way[-1].tolist() == NEUTRAL and len(way) > 10
    stage.ros.until(lambda: stage.last == NEUTRAL, "the neutral command")
    assert (np.abs(np.diff(way, axis=0)) <= np.array([0.2, 0.05]) + 1e-6).all()


def test_a_person_takes_over_and_hands_back(make: Make) -> None:
    stage = make(max_steps=10_000, teleop_timeout=0.2)
    stage.until(lambda: stage.controller.steps >= 2, "steps of the policy")
    command = person(stage, [1.0, 0.25])
    stage.until(lambda: command() or stage.controller.interventions >= 3, "interventions")
    stage.until(
        lambda: stage.last == [1.0, 0.25],
        "the person's command",
    )
    count = len(stage.rows)
    stage.until(lambda: any(r.policy_version == RANDOM_POLICY for r in stage.rows[count:]), "the policy again")
    own = [r for r in stage.rows if r.policy_version == INTERVENTION]
    for row in own:
        validate_record(row, LONG)
        np.testing.assert_allclose(row.action["torque"], [0.5, -0.5])
        assert not np.allclose(row.action_requested["torque"], row.action["torque"])  # what the policy would have done
    assert len(own) == stage.controller.interventions
    assert stage.controller.abandoned == stage.rows[-1].episode  # only a machine that stalls for 0.5 s cuts an episode


def test_a_take_over_that_is_switched_on_does_not_need_fresh_messages(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 2, "steps of the policy")
    assert stage.call("policy/take_over", data=True).message == "a person commands, until this is switched off"
    stage.only(NEUTRAL)
    assert stage.rows[-1].policy_version == TAKEN_OVER and stage.controller.interventions == 0
    assert stage.call("policy/take_over", data=False).message == "handed back"
    stage.until(lambda: stage.rows[-1].policy_version == RANDOM_POLICY, "the policy again")


@pytest.mark.parametrize("numbers", [[1.0], [float("nan"), 0.0]])
def test_a_persons_nonsense_is_refused_and_counted(make: Make, numbers: list[float]) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 2, "steps of the policy")
    command = person(stage, numbers)
    stage.until(lambda: command() or stage.components.takeover.refused >= 3, "refusals")
    assert stage.controller.interventions == 0 and stage.controller.guard.fault is None


def test_nobody_takes_over_a_robot_with_a_fault(make: Make) -> None:
    stage = make(max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    stage.call("policy/e_stop")
    stage.until(lambda: is_in(stage, DriveState.FAULT), "the fault")
    command = person(stage, [1.0, 1.0])
    stage.also.append(lambda stamp: command())
    stage.only(NEUTRAL)


def test_the_heartbeat_ends_with_the_loop(make: Make) -> None:
    stage = make()
    heartbeat = stage.watch(Bool, "policy/heartbeat")
    stage.until(lambda: heartbeat and heartbeat[-1].data, "a heartbeat")
    stage.node.trigger_deactivate()
    stage.until(lambda: not heartbeat[-1].data, "its end")
    heartbeat.clear()
    stage.ros.spin(0.3, stage.poke)
    assert heartbeat == []


@pytest.mark.parametrize("transition", ["activate", "deactivate"])
def test_an_exception_in_a_transition_is_said_and_leaves_the_node_unconfigured(
    make: Make, transition: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = make()
    if transition == "activate":
        stage.node.trigger_deactivate()

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    if transition == "activate":
        monkeypatch.setattr(stage.components.runner, "start", broken)
    else:
        monkeypatch.setattr(stage.components.states, "settle", broken)
    getattr(stage.node, f"trigger_{transition}")()
    assert f"on_{transition} failed:" in (said := capfd.readouterr().err) and "ZeroDivisionError: a bug" in said
    assert stage.node._state_machine.current_state[0] == Lifecycle.PRIMARY_STATE_UNCONFIGURED
    assert stage.node.components is None
    assert stage.node.trigger_configure() == TransitionCallbackReturn.SUCCESS


def test_parameters_have_descriptions_and_ranges_that_are_kept(make: Make) -> None:
    stage = make()
    for name in stage.node.parameters.__dataclass_fields__:
        assert stage.node.describe_parameter(name).description
    assert stage.node.set_parameters([Parameter("teleop_timeout", value=2.0)])[0].successful
    assert stage.components.takeover.timeout == 2.0
    for name, value in (
        ("teleop_timeout", 100.0),
        ("teleop_timeout", "soon"),
        ("e_stop_timeout", 1.0),
        ("automatic", False),
    ):
        assert not stage.node.set_parameters([Parameter(name, value=value)])[0].successful
    assert stage.components.takeover.timeout == 2.0


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [("teleop_timeout", 100.0, "parameter teleop_timeout: expected a number from 0.05 to 10, found 100.0"),
     ("teleop_timeout", "soon", "parameter teleop_timeout: expected a number from 0.05 to 10, found 'soon'"),
     ("e_stop_timeout", -1.0, "parameter e_stop_timeout: expected a number from 0 to 60, found -1.0"),
     ("threads", 65, "parameter threads: expected a whole number from 1 to 64, found 65"),
     ("rollback_episodes", 1, "parameter rollback_episodes: expected 0 (never), or 2 to 1000, found 1"),
     ("rollback_episodes", 1001, "parameter rollback_episodes: expected a whole number from 0 to 1000, found 1001"),
     ("e_stop_timout", 0.5, "unknown parameter 'e_stop_timout'; did you mean e_stop_timeout?"),
     ("xyz", 2, "unknown parameter 'xyz'; known: automatic, autostart, bundle")],
)  # fmt: skip
def test_parameters_out_of_range_are_refused_at_the_start(ros: Any, name: str, value: Any, problem: str) -> None:
    with pytest.raises(ParameterError) as error:
        PolicyNode(context=ros.context, parameter_overrides=[Parameter(name, value=value)])
    assert problem in str(error.value)


def test_diagnostics_say_what_a_person_asks(make: Make) -> None:
    stage = make(max_steps=10_000)
    seen = stage.watch(DiagnosticArray, "/diagnostics")
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    seen.clear()
    stage.until(lambda: seen, "diagnostics")
    parts = {s.name.removeprefix("policy: "): s for s in seen[-1].status}
    values = {name: {v.key: v.value for v in part.values} for name, part in parts.items()}
    assert {f"faults_{rule}" for rule in RULES} | {"clipped", "slewed", "e_stop_pressed"} <= values["guard"].keys()
    assert values["guard"]["state"] == "policy" == parts["guard"].message
    assert {"age joint_states", "received", "late"} <= values["sensors"].keys()
    assert {"version", "age", "surprise", "surprise_threshold", "rollbacks"} <= values["policy"].keys()
    assert {"rate", "misses", "jitter_p99", "phase"} <= values["control loop"].keys()
    assert {"interventions", "refused", "switched_on"} <= values["take-over"].keys()
    stage.call("policy/e_stop")
    seen.clear()
    stage.until(lambda: len(seen) >= 2, "more of them")
    guard = next(s for s in seen[-1].status if s.name == "policy: guard")
    assert guard.level == b"\x02" and guard.message == "e_stop: the service e_stop was called"


def test_a_passive_robot_says_which_sensors_are_silent(make: Make) -> None:
    stage = make(automatic=False)
    stage.speaks = False
    stage.ros.until(lambda: complain(stage.node, stage.components), "a complaint")
    assert complain(stage.node, stage.components).startswith("no fresh messages from joint_states (no message yet)")
