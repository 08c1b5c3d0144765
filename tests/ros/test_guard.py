"""Each rule of the guard in a real node: what trips it, what the robot gets, what is recorded, how it goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import Imu
from std_msgs.msg import Bool, Float64MultiArray

from robot_dreamer.onboard.bundle import read_bundle
from robot_dreamer.onboard.policy import OnnxPolicy, PolicyOutput
from robot_dreamer.record import INTERVENTION, validate_record
from robot_dreamer.spec import parse_spec
from ros_nodes.health import bundle_age, figures
from tests.onboard_models import TOY, edit_manifest, make_bundle, toy_spec
from tests.ros.fake_robot import joint_state
from tests.ros.guarded import LONG, NEUTRAL, Make, faulted, goes_on
from tests.ros.stage import Stage

pytest.importorskip("rclpy")


pytestmark = pytest.mark.usefixtures("proved_here", "reported_often")
WATCHED = f"""{TOY}
watched:
  - {{name: up, shape: [3], source: {{topic: imu, type: sensor_msgs/msg/Imu, field: linear_acceleration}}}}
  - {{name: temperature, shape: [1], unit: C,
     source: {{topic: motors, type: sensor_msgs/msg/JointState, field: position, names: [hinge]}}}}
safety:
  reactions: {{tilt: damp, limit: hold}}
  tilt: {{observation: up, max_angle: 1.0}}
  limits: [{{observation: temperature, high: [80.0], after: 0.1}}]
"""


class Body:
    """The further sensors of WATCHED."""

    def __init__(self, stage: Stage) -> None:
        self.angle, self.temperature = 0.0, 40.0
        self._imu = stage.robot.create_publisher(Imu, "imu", 1)
        self._motors = stage.robot.create_publisher(type(joint_state(0, [], [])), "motors", 1)
        stage.also.append(self.publish)

    def publish(self, stamp: int) -> None:
        imu = Imu()
        imu.header.stamp = joint_state(stamp, [], []).header.stamp
        imu.linear_acceleration.x, imu.linear_acceleration.z = 9.81 * math.sin(self.angle), 9.81 * math.cos(self.angle)
        self._imu.publish(imu)
        self._motors.publish(joint_state(stamp, ["hinge"], [self.temperature]))


def safe(safety: str) -> str:
    return f"{TOY}safety: {safety}\n"


def person(stage: Stage, numbers: list[float]) -> Callable[[], None]:
    """Publishes a person's command; call it again and again."""
    publisher = stage.robot.create_publisher(Float64MultiArray, "policy/teleop/motor/commands", 1)
    return lambda: publisher.publish(Float64MultiArray(data=numbers))


def test_commands_outside_limits_are_clipped(make: Make) -> None:
    stage = make(max_steps=10_000)
    command = person(stage, [9.0, -9.0])
    stage.until(lambda: stage.controller.running, "an episode")
    stage.until(lambda: command() or stage.controller.interventions >= 3, "interventions")
    row = next(r for r in stage.rows if r.policy_version == INTERVENTION)
    np.testing.assert_array_equal(row.action["torque"], [1.0, -1.0])
    assert stage.controller.guard.limits.clipped >= 3
    stage.until(lambda: [2.0, 0.0] in [numbers for _, numbers in stage.robot.commands], "the clipped command")


def test_commands_are_slewed_and_the_slewed_one_is_recorded(make: Make) -> None:
    spec = TOY.replace("high: [2.0, 1.0]", "high: [2.0, 1.0], max_rate: [4.0, 4.0]")  # 0.08 per tick
    stage = make(max_steps=10_000, spec=spec)
    command = person(stage, [2.0, 1.0])
    stage.until(lambda: stage.controller.running, "an episode")
    stage.until(lambda: command() or stage.controller.interventions >= 5, "interventions")
    executed = [parse_spec(spec).actions[0].to_command(r.action["torque"]) for r in stage.rows]
    sent = np.array(stage.sent)
    assert (np.abs(np.diff(sent, axis=0)) < 0.08 + 1e-6).all()
    assert all(np.isclose(sent, command).all(axis=1).any() for command in executed)
    assert stage.controller.guard.limits.slewed >= 5


def test_a_command_that_is_not_finite_latches(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make()
    stage.until(lambda: stage.controller.steps >= 1, "a step")
    with monkeypatch.context() as patch:
        nonsense = PolicyOutput({"torque": np.array([np.nan, 0.0], np.float32)})
        patch.setattr(stage.components.slot.current, "step", lambda *_: nonsense)
        assert "torque is not finite" in faulted(stage, "command")
    stage.only(NEUTRAL)
    goes_on(stage)
    for row in stage.rows:
        validate_record(row, toy_spec())


def test_a_policy_that_fails_latches(make: Make, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "1.bundle", LONG, 1, nan_above=30.0)  # speed counts ticks
    stage = make(bundle=str(bundle), max_steps=10_000)
    assert "action torque is not finite" in faulted(stage, "policy")
    stage.only(NEUTRAL)


def test_a_policy_that_fails_is_rolled_back(make: Make, tmp_path: Path) -> None:
    stage = make(bundle=str(make_bundle(tmp_path / "1.bundle", LONG, 1)), max_steps=10_000)
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    stage.robot.speed = dict.fromkeys(range(1, 100_000), 1.0)
    stage.components.slot.offer(make_bundle(tmp_path / "2.bundle", LONG, 2, nan_above=30.0))
    stage.until(lambda: stage.components.slot.swaps == 1 and stage.rows[-1].policy_version == 2, "the swap")
    stage.robot.speed = {}
    stage.robot.tick = max(stage.robot.tick, 40)
    stage.until(lambda: stage.components.slot.rollbacks == 1, "the rollback")
    steps = stage.controller.steps
    stage.until(lambda: stage.controller.steps > steps + 2, "acting on")
    assert stage.rows[-1].policy_version == 1 and stage.controller.guard.fault is None
    assert "policy 2 failed, back to policy 1" in stage.components.slot.last_rollback


def test_a_policy_that_is_too_slow_is_sent_back(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = make_bundle(tmp_path / "1.bundle", LONG, 1)
    stage = make(bundle=str(bundle), max_steps=10_000, spec=safe("{stale_seconds: 0}"))
    stage.until(lambda: stage.controller.steps >= 40, "enough steps to compare with")
    slot = stage.components.slot
    slot.offer(make_bundle(tmp_path / "2.bundle", LONG, 2))
    stage.until(lambda: slot.swaps == 1, "the swap")
    step = slot.current.step

    def slow(*arguments: Any) -> PolicyOutput:
        time.sleep(0.03)  # the period is 0.02
        output: PolicyOutput = step(*arguments)
        return output

    monkeypatch.setattr(slot.current, "step", slow)
    stage.until(lambda: slot.rollbacks == 1, "the way back")
    assert "policy 2 failed, back to policy 1: a step takes " in slot.last_rollback
    rows = len(stage.rows)
    stage.until(lambda: len(stage.rows) > rows + 2, "acting on")
    assert stage.rows[-1].policy_version == 1 and stage.controller.guard.fault is None


def test_a_fall_ends_the_episode_as_terminal_and_damps(make: Make) -> None:
    stage = make(max_steps=10_000, spec=WATCHED)
    heartbeat = stage.watch(Bool, "policy/heartbeat")
    body = Body(stage)
    stage.until(lambda: stage.controller.steps >= 2 and heartbeat and heartbeat[-1].data, "steps and a heartbeat")
    body.angle = 1.5
    assert "the robot leans 1.50 rad, allowed 1 rad (up)" in faulted(stage, "tilt")
    stage.silent()
    assert not heartbeat[-1].data
    last = stage.rows[-1]
    assert last.is_last and last.is_terminal and set(last.observation) == {"angle", "speed"}
    assert stage.controller.episodes == 1
    body.angle = 0.0
    goes_on(stage)
    stage.until(lambda: heartbeat[-1].data, "the heartbeat again")


def test_a_measured_limit_ends_the_episode_as_terminal_and_holds(make: Make) -> None:
    stage = make(max_steps=10_000, spec=WATCHED)
    body = Body(stage)
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    body.temperature = 95.0
    assert faulted(stage, "limit") == "temperature of hinge is 95 C, high limit 80"
    assert stage.rows[-1].is_terminal
    actions = [r for r in stage.rows if not r.is_last]
    stage.only(toy_spec().actions[0].to_command(actions[-1].action["torque"]).tolist())
    body.temperature = 40.0
    goes_on(stage)


def test_a_watched_sensor_that_never_speaks_keeps_the_robot_still(make: Make) -> None:
    stage = make(spec=WATCHED)
    stage.only(NEUTRAL)
    assert stage.rows == [] and "imu (no message yet)" in stage.components.runner._problem


def test_a_sensor_that_stays_silent_latches(make: Make) -> None:
    stage = make(max_steps=10_000, spec=safe("{stale_seconds: 0.3}"))
    stage.until(lambda: stage.controller.running and stage.controller.steps >= 2, "an episode")
    stage.speaks = False
    assert "no fresh messages from joint_states" in faulted(stage, "stale")
    assert not stage.rows[-1].is_last and stage.controller.abandoned >= 1  # cut
    stage.speaks = True
    stage.only(NEUTRAL)
    goes_on(stage)


def test_a_sensor_that_stays_corrupt_latches(make: Make) -> None:
    stage = make(max_steps=10_000, spec=safe("{}"))  # the default
    health = stage.watch(DiagnosticArray, "/diagnostics")
    stage.until(lambda: stage.controller.running and stage.controller.steps >= 2, "an episode")
    stage.robot.speed = dict.fromkeys(range(1, 100_000), float("nan"))
    reason = faulted(stage, "stale")
    assert "no good sample for 2 s: " in reason and "observation speed: expected finite" in reason
    assert stage.controller.refused["message"] >= 2 and not stage.rows[-1].is_last
    health.clear()
    stage.until(lambda: health and health[-1].status[2].level == DiagnosticStatus.ERROR, "diagnostics")
    assert health[-1].status[2].name == "policy: guard" and health[-1].status[2].message.startswith("stale: ")
    stage.only(NEUTRAL)
    stage.robot.speed = {}
    goes_on(stage)


def test_short_nonsense_does_not_latch(make: Make) -> None:
    """Refused samples count only while no good one comes between them."""
    stage = make(max_steps=10_000, spec=safe("{stale_seconds: 60.0}"))
    stage.until(lambda: stage.controller.running and stage.controller.steps >= 2, "an episode")
    for _ in range(2):
        refused, steps = stage.controller.refused["message"], stage.controller.steps
        sound_at = stage.components.runner._sound_at
        stage.robot.speed = dict.fromkeys(range(1, 100_000), float("nan"))
        stage.until(lambda: stage.controller.refused["message"] >= refused + 3, "refusals")  # noqa: B023
        stage.robot.speed = {}
        stage.until(lambda: stage.controller.steps > steps + 2, "steps again")  # noqa: B023
        assert stage.components.runner._sound_at > sound_at  # counted anew
    assert stage.controller.guard.fault is None


def test_missed_deadlines_latch(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make(max_steps=10_000, spec=safe("{missed_deadlines: 12}"))
    stage.until(lambda: stage.controller.steps >= 2, "steps")
    step = stage.components.slot.current.step

    def slow(*arguments: Any) -> PolicyOutput:
        time.sleep(0.07)  # 3 deadlines
        output: PolicyOutput = step(*arguments)
        return output

    monkeypatch.setattr(stage.components.slot.current, "step", slow)
    assert "deadlines missed in a row, allowed 11" in faulted(stage, "deadline")
    stage.only(NEUTRAL)


def test_a_bundle_that_is_too_old_latches(make: Make, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "1.bundle", toy_spec(), 1)  # made on the first of January 2026
    stage = make(bundle=str(bundle), spec=safe("{bundle_seconds: 3600}"))
    reason = faulted(stage, "bundle")
    assert reason.startswith("bundle 1 is ") and reason.endswith(" s old, allowed 3600 s")
    stage.only(NEUTRAL)


def test_a_newer_bundle_ends_the_fault_of_one_that_is_too_old(make: Make, tmp_path: Path) -> None:
    """It can take over in an episode only, and none begins before a person has cleared the fault, and said policy."""
    old, new = (make_bundle(tmp_path / f"{version}.bundle", toy_spec(), version) for version in (1, 2))
    edit_manifest(new, created=datetime.now(timezone.utc).isoformat())
    stage = make(bundle=str(old), spec=safe("{bundle_seconds: 3600}"), automatic=False)
    faulted(stage, "bundle")
    stage.components.slot.offer(new)
    stage.until(lambda: stage.components.slot.next.version == 2, "the newer one")
    assert stage.call("policy/clear_fault").success
    stage.node._report()
    assert stage.controller.guard.fault is None and stage.components.slot.current.version == 1
    assert stage.call("policy/policy").success
    stage.until(lambda: stage.components.slot.swaps == 1, "its turn")
    stage.node._report()
    assert stage.controller.guard.fault is None


def test_a_bundle_from_the_future_has_no_age(make: Make, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "1.bundle", toy_spec(), 1)
    edit_manifest(bundle, created="9999-12-31T00:00:00Z")
    stage = make(bundle=str(bundle), spec=safe("{bundle_seconds: 3600}"))
    assert faulted(stage, "bundle") == "bundle 1 says that it was made later than now, so no age, allowed 3600 s"
    assert "bundle_age_s" not in figures(stage.components) and math.isinf(bundle_age(stage.components))


def test_the_learner_tells_the_age_of_its_own_bundle_only(tmp_path: Path) -> None:
    """Two runs may have a bundle of the same version."""
    from ros_nodes.health import bundle_age

    policy = OnnxPolicy(read_bundle(make_bundle(tmp_path / "7.bundle", LONG, 7), LONG))

    def age(file: str) -> float:
        link = SimpleNamespace(status=lambda: SimpleNamespace(bundle_version=7, bundle_file=file, bundle_age=1.0))
        components: Any = SimpleNamespace(slot=SimpleNamespace(current=policy), link=link)
        return bundle_age(components)

    assert age("7.bundle") == 1.0
    assert age("7 of another run.bundle") > 3600


def test_surprise_latches(make: Make, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "1.bundle", LONG, 1)  # its surprise follows the speed
    spec = safe("{surprise: {factor: 5.0, seconds: 0.1, window: 100, warm_up: 20}}")
    stage = make(bundle=str(bundle), spec=spec, max_steps=10_000)
    stage.robot.speed = dict.fromkeys(range(1, 100_000), 1.0)
    stage.until(lambda: math.isfinite(stage.controller.guard.surprise_threshold), "the threshold")
    stage.robot.speed = dict.fromkeys(range(1, 100_000), 1e5)
    assert "nats over 0.1 s, threshold" in faulted(stage, "surprise")
    assert not stage.rows[-1].is_last
